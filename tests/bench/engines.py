"""Images a second of one process, MXNet against PyTorch, for every model. `python -m tests.bench.engines [MODEL...]`.

MXNet is that of `make runtime`, or HARNESS_RUNTIME_PYTHON's; PyTorch must be installed where this runs. One thread each. The
engines take turns in every repeat.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from harness.contract import wire
from tests.bench.memory import take_runtime
from tests.bench.row import Row, at_least, ratio_row
from tests.integration import training_job

ENGINES = ("mxnet", "torch")
GREY = ("lenet5", "lenet", "inception_small")
SMALL = (*GREY, "resnet20", "resnet32", "resnet18_32", "alexnet_32", "vgg11", "squeezenet_32", "mobilenet_v2_32")
LARGE = ("resnet18", "alexnet", "squeezenet", "mobilenet_v2")
"""Of 224x224."""
LIMIT_SECONDS = 300


def rate(engine: str, model: str) -> float:
    """Images a second of one process, in its second epoch, without validation."""
    batch, steps = (4, 4) if model in LARGE else (64, 40) if model in GREY else (16, 10)
    arguments = [
        f"--engine={engine}", f"--model={model}", f"--dataset={'digits' if model in GREY else 'patches'}",
        f"--batch-size={batch}", f"--epoch-steps={steps}", "--epochs=2", "--kvstore=none", "--learning-rate=0.001",
        "--no-validation",
    ]  # fmt: skip
    process = training_job.start(arguments, {}, Path.cwd())
    output, errors = process.communicate(timeout=LIMIT_SECONDS)
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed: {errors}")
    last = [event for event in training_job.events(output) if event["event"] == wire.EPOCH][-1]
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
    if find_spec("torch") is None:
        parser.error("PyTorch is not installed where this runs; docs/how-to/pytorch.md says how it is got")
    take_runtime()
    for row in rows(chosen.models, chosen.repeats):
        print(f"{row.what}: {row.measured()}", flush=True)


if __name__ == "__main__":
    main()
