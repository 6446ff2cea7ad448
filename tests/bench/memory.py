"""What a worker of `train.py` was estimated to need of its node's memory, against what it had at its peak.

`python -m tests.bench.memory` trains each case for two short epochs, its workers on this machine, and prints the table of
docs/explanation/training.md again. It needs no root; MXNet's runtime is that of `make runtime`, or HARNESS_RUNTIME_PYTHON's.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from harness.check.estimates import Question, estimates
from harness.contract import wire
from harness.experiment.catalog import find_program
from tests.integration import training_job

BAR = 0.15
"""How far off an estimate may be, of the peak."""
COLUMNS = ("model", "batch", "how", "workers", "measured, MB", "estimate, MB", "ratio")
_RUNTIME = "HARNESS_RUNTIME_PYTHON"
_STEPS = 4
"""Of an epoch, of which there are two."""
_LOOK_SECONDS = 0.02
_MEGABYTE = 1e6

PIPELINE = ("--strategy=pipeline", "--stages=2", "--micro-batches=4")
SPLIT, TOWERS = ("--strategy=split",), ("--strategy=towers", "--towers=2")
SUMS, FACTORS = ("--dense-gradients=sum",), ("--dense-gradients=factors",)
MOMENTUM, TORCH = ("--momentum=0.9",), ("--engine=torch",)
ALONE = (
    ("lenet5", 64), ("lenet", 512), ("resnet20", 64), ("resnet18_32", 16), ("resnet18", 16), ("vgg11", 64),
    ("alexnet_32", 64), ("alexnet", 16), ("squeezenet", 16), ("mobilenet_v2_32", 32),
)  # fmt: skip
PYTORCH = (("lenet5", 64), ("resnet20", 64), ("resnet18_32", 16), ("alexnet_32", 64), ("squeezenet", 16))


@dataclass(frozen=True)
class Case:
    """So many workers with a model and a batch each, in some way."""

    model: str
    batch: int
    how: str
    own: tuple[str, ...] = ()
    workers: int = 1
    servers: int = 0
    validates: bool = False
    dataset: str = "patches"

    @property
    def arguments(self) -> list[str]:
        """Of the program, without what does not matter here."""
        store = () if any(word.startswith("--kvstore") for word in self.own) else (f"--kvstore={self._store}",)
        validation = () if self.validates else ("--no-validation",)
        limit = _STEPS * self.batch * self.workers
        return [
            *(f"--model={self.model}", f"--dataset={self.dataset}", f"--batch-size={self.batch}", f"--limit={limit}"),
            *(*store, *validation, *self.own, "--epochs=2"),
        ]

    @property
    def _store(self) -> str:
        return "none" if self.workers == 1 else "allreduce"

    @property
    def ranks(self) -> dict[str, int]:
        """How many there are of each role."""
        return {"worker": self.workers} | ({"server": self.servers} if self.servers else {})


def _dataset(model: str) -> str:
    """Grey images for models of grey ones."""
    return "digits" if model in ("lenet5", "lenet", "inception_small") else "patches"


CASES = [
    *(Case(model, batch, "one process", dataset=_dataset(model)) for model, batch in ALONE),
    *(Case(model, batch, "one process, PyTorch", TORCH, dataset=_dataset(model)) for model, batch in PYTORCH),
    Case("alexnet_32", 64, "PyTorch, validated", TORCH, validates=True),
    Case("alexnet_32", 64, "one process, validated", validates=True),
    Case("resnet20", 64, "one process, validated", validates=True),
    Case("alexnet_32", 64, "momentum", MOMENTUM),
    Case("alexnet_32", 64, "in 4 pieces", ("--accumulate=4",)),
    Case("alexnet_32", 64, "sums", SUMS, 2),
    Case("alexnet_32", 64, "sums", SUMS, 3),
    Case("alexnet_32", 64, "sums as bfloat16", ("--wire=bfloat16",), 2),
    Case("vgg11", 64, "sums, momentum", (*SUMS, *MOMENTUM), 2),
    Case("alexnet_32", 16, "factors", FACTORS, 2),
    Case("alexnet", 8, "factors", FACTORS, 2),
    Case("alexnet_32", 64, "split", SPLIT, 2),
    Case("alexnet_32", 64, "split", SPLIT, 3),
    Case("alexnet_32", 64, "split, momentum, validated", (*SPLIT, *MOMENTUM), 2, validates=True),
    Case("alexnet", 8, "split", SPLIT, 2),
    Case("alexnet_32", 64, "pipeline of 2 stages", PIPELINE, 2),
    Case("resnet20", 64, "pipeline of 2 stages", PIPELINE, 2),
    Case("vgg11", 64, "pipeline of 2 stages, gpipe", (*PIPELINE, "--schedule=gpipe"), 4),
    Case("alexnet_towers", 8, "2 towers", TOWERS, 2),
    Case("alexnet_towers_32", 64, "2 towers", TOWERS, 4),
    Case("inception_small", 64, "2 towers", TOWERS, 2, dataset="digits"),
    Case("alexnet_32", 64, "rule average", ("--rule=average", "--meet-every=4"), 2),
    Case("alexnet_32", 64, "rule admm", ("--rule=admm", "--meet-every=4"), 2),
    Case("alexnet_32", 64, "dist_sync", ("--kvstore=dist_sync",), 2, 1),
]


def estimate(case: Case) -> int:
    """Bytes of the worker that needs most."""
    estimator = find_program("train.py").estimator
    assert estimator
    (answer,) = estimates(estimator, [Question(tuple(case.arguments), case.ranks)])
    if answer.memory is None:
        raise ValueError(answer.fault)
    return answer.memory.nbytes


def peak(case: Case, directory: Path) -> int:
    """Resident bytes of the worker that had most.

    Not as wait4 has it: that counts what a process was before it became the program, a copy of all of this one.
    """
    found = [0] * case.workers
    with training_job.trial(
        case.workers, case.servers, case.arguments, directory, **{wire.TRIAL_TOKEN: "5e" * 16}
    ) as ranks:
        for rank in ranks:  # what nobody reads would fill the pipes
            for stream in (rank.stdout, rank.stderr):
                assert stream
                threading.Thread(target=stream.read, daemon=True).start()
        workers = ranks[-case.workers :]
        while any(worker.poll() is None for worker in workers):
            found = [max(most, _resident_at_most(worker.pid)) for most, worker in zip(found, workers, strict=True)]
            threading.Event().wait(_LOOK_SECONDS)
        assert not any(worker.returncode for worker in workers), f"{' '.join(case.arguments)} failed"
    return max(found)


def _resident_at_most(pid: int) -> int:
    """Bytes; 0 where the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def take_runtime() -> None:
    """Let MXNet be that of `make runtime`, unless the environment names another one."""
    os.environ.setdefault(_RUNTIME, str(Path.home() / ".local/share/harness/runtime/bin/python"))


def main() -> int:
    """Measure, and print a row as each is there; exit code 1 where an estimate is too far off."""
    chosen = _parse()
    take_runtime()
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    held = True
    for case in CASES:
        if not all(word in f"{case.model} {case.how} {case.workers}" for word in chosen.only):
            continue
        if case.own == TORCH and find_spec("torch") is None:
            continue  # docs/how-to/pytorch.md says how it is got
        expected = estimate(case)
        with tempfile.TemporaryDirectory() as directory:
            measured = peak(case, Path(directory))
        ratio = expected / measured
        held = held and abs(ratio - 1) <= BAR
        cells = (case.model, case.batch, case.how, case.workers)
        figures = (f"{measured / _MEGABYTE:.0f}", f"{expected / _MEGABYTE:.0f}", f"{ratio:.2f}")
        print(f"| {' | '.join(map(str, (*cells, *figures)))} |", flush=True)
    return 0 if held else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument(
        "only", nargs="*", metavar="WORD", help="only cases in whose model, way or workers all of these are"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
