"""Images a second of one process, MXNet against PyTorch, for every model. `python -m tests.bench.engines [MODEL...]`.

MXNet is the runtime's (HARNESS_RUNTIME_PYTHON); PyTorch must be installed where this runs. One thread each. The engines take
turns in every repeat.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from statistics import median

from harness.paths import PROGRAMS
from tests.bench.row import Row, at_least, ratio_row

ENGINES = ("mxnet", "torch")
GREY = ("lenet5", "lenet", "inception_small")
SMALL = (*GREY, "resnet20", "resnet32", "resnet18_32", "alexnet_32", "vgg11", "squeezenet_32", "mobilenet_v2_32")
LARGE = ("resnet18", "alexnet", "squeezenet", "mobilenet_v2")
"""Of 224x224."""
LIMIT_SECONDS = 300


def rate(engine: str, model: str) -> float:
    """Images a second of one process, in its second epoch, without validation."""
    batch, steps = (4, 4) if model in LARGE else (64, 40) if model in GREY else (16, 10)
    python = os.environ["HARNESS_RUNTIME_PYTHON"] if engine == "mxnet" else sys.executable
    arguments = [
        f"--engine={engine}", f"--model={model}", f"--dataset={'digits' if model in GREY else 'patches'}",
        f"--batch-size={batch}", f"--epoch-steps={steps}", "--epochs=2", "--kvstore=none", "--learning-rate=0.001",
        "--no-validation",
    ]  # fmt: skip
    done = subprocess.run(
        [python, str(PROGRAMS / "train.py"), *arguments], env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True,
    )  # fmt: skip
    last = [json.loads(line) for line in done.stdout.splitlines() if '"epoch"' in line][-1]
    return float(last["images"] / last["train_seconds"])


def rows(models: Sequence[str], repeats: int) -> Iterator[Row]:
    """A line for each model."""
    for model in models:
        found = [{engine: rate(engine, model) for engine in ENGINES} for _ in range(repeats)]
        rates = [dict(enumerate(each[engine] for each in found)) for engine in ENGINES]
        where = (
            f"{model}: MXNet {median(rates[0].values()):.4g}, PyTorch {median(rates[1].values()):.4g} images/s; ratio"
        )
        yield ratio_row(where, *rates, at_least(1.0))


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.engines", description=__doc__)
    parser.add_argument("models", nargs="*", default=(*SMALL, *LARGE), help="which (default: all)")
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    for row in rows(chosen.models, chosen.repeats):
        print(f"{row.what}: {row.measured()}", flush=True)


if __name__ == "__main__":
    main()
