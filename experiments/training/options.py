"""The program's options, as the harness passes an experiment's parameters."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from . import data, models, schedule, stores
from .errors import ProgramError


@dataclass(frozen=True)
class Options:
    """What is asked of the program; rates as given, before any scaling."""

    model: str
    dataset: str
    data_dir: Path
    batch_size: int
    learning_rate: float
    learning_rate_scaling: str
    warmup_steps: int
    epochs: int
    kvstore: str
    synchronise_every: int
    wire: str
    threshold: float | None
    seed: int
    validation: bool
    limit: int | None
    save_weights: Path | None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ProgramError(message, f"see {self.prog} --help")


def parse(arguments: Sequence[str]) -> Options:
    """Parse the command line; raises ProgramError for what is wrong with it."""
    parser = _Parser(prog="train.py", description="Train a LeNet with data shared out over the workers of a trial.")
    add = parser.add_argument
    add("--model", choices=tuple(models.ARCHITECTURES), default="lenet5")
    add("--dataset", choices=tuple(data.DATASETS), default="digits")
    add("--data-dir", type=Path, default=Path(os.environ.get("HARNESS_DATA", "data")), help="default: $HARNESS_DATA")
    add("--batch-size", type=_positive, default=64, help="images of one step on one worker")
    add("--learning-rate", type=_rate, default=0.05)
    add("--learning-rate-scaling", choices=schedule.SCALINGS, default="none", help="multiply the rate for more workers")
    add("--warmup-steps", type=_natural, default=0, help="steps in which the rate rises from 0")
    add("--epochs", type=_positive, default=10)
    add("--kvstore", choices=stores.NAMES, default="dist_sync")
    add("--synchronise-every", type=_positive, default=1, help="steps between averages of the values (allreduce)")
    add(
        "--wire",
        choices=stores.WIRES,
        default="float32",
        help="how gradients travel: bfloat16 with allreduce, 2bit with dist_*",
    )
    add(
        "--threshold",
        type=_rate,
        default=None,
        help="what 2bit sends of a mean gradient is nothing or this, plus or minus",
    )
    add("--seed", type=_natural, default=0, help="of the first weights and of every epoch's shuffle")
    add("--validation", action=argparse.BooleanOptionalAction, default=True)
    add("--limit", type=_positive, default=None, help="use only the first training images, for quick runs")
    add("--save-weights", type=Path, default=None, help="file for worker 0's trained weights, NumPy's .npz")
    return Options(**vars(parser.parse_args(arguments)))


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return value
