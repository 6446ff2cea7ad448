"""The options of `train.py`, typed; what there is, and within which bounds, says `train.program.yaml`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from contract import wire

from .command_line import parse as parse_command_line
from .description import described

__all__ = ["Options", "data_directory", "parse"]

PROGRAM = "train.py"


@dataclass(frozen=True)
class Options:
    """What is asked of the program; rates as given, before any scaling. The trainer's own are fields."""

    engine: str
    model: str
    dataset: str
    data_dir: Path
    augmentation: str
    batch_size: int
    accumulate: int
    learning_rate: float
    learning_rate_scaling: str
    warmup_steps: int
    decay: str
    decay_begins: float
    epochs: int
    epoch_steps: int | None
    kvstore: str
    synchronise_every: int
    wire: str
    threshold: float | None
    seed: int
    validation: bool
    limit: int | None
    holdout: int | None
    shards: str
    label_pieces: int
    concentration: float
    save_weights: Path | None
    rule: str | None
    own: Mapping[str, Any]
    """All others that the description has: a store's or a rule's, which finds its own there by name."""


def parse(arguments: Sequence[str]) -> Options:
    """Parse the command line of `train.py`; raises ProgramError for what is wrong with it."""
    values: dict[str, Any] = parse_command_line(described(PROGRAM), arguments)
    values["data_dir"] = data_directory(values["data_dir"])
    values["save_weights"] = values["save_weights"] and Path(values["save_weights"])
    typed = {field.name for field in fields(Options)}
    own = {name: values.pop(name) for name in list(values) if name not in typed}
    return Options(**values, own=own)


def data_directory(given: str | None) -> Path:
    """Where data sets are: as given, or as the environment says, or `data`."""
    return Path(given or os.environ.get(wire.DATA) or "data")
