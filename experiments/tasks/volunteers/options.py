"""What is asked of the program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.errors import ProgramError
from training.options.command_line import parse
from training.options.description import described

PROGRAM = "federated/volunteer.py"
ROUNDS, ARRIVING = "rounds", "arriving"
RATE, EQUAL = "rate", "equal"


@dataclass(frozen=True)
class Options:
    """As `volunteer.program.yaml` says it."""

    engine: str
    model: str
    dataset: str
    data_dir: str | None
    batch_size: int
    seed: int
    limit: int | None
    passes: int
    windows: int
    learning_rate: float
    momentum: float
    nesterov: bool
    decay: str
    decay_begins: float
    merge: str
    round_steps: int
    rule: str
    outer_momentum: float
    outer_rate: float
    outer_nesterov: bool
    mix: float
    oldest: int
    largest: float
    sizing: str
    probe_steps: int
    task_seconds: float
    task_steps: int
    backups: bool
    wait_for: int
    patience: float
    comes: str | None
    goes: str | None
    judged: int


def read(arguments: Sequence[str]) -> Options:
    """From the command line. Raises ProgramError."""
    options = Options(**parse(described(PROGRAM), arguments))  # type: ignore[arg-type]
    moments(options.comes)
    moments(options.goes)
    return options


def moments(text: str | None) -> dict[int, float]:
    """By volunteer's rank, after how many seconds: `5:8,1:12.5`. Raises ProgramError for what is no such list."""
    found = {}
    for word in (text or "").split(",") if text else ():
        rank, _, seconds = word.strip().partition(":")
        try:
            found[int(rank)] = float(seconds)
        except ValueError:
            found[-1] = -1.0
        if min(found) < 0 or not 0 <= min(found.values()) <= max(found.values()) < float("inf"):
            raise ProgramError(f"'{word}' is no rank with seconds", "write RANK:SECONDS, such as 5:8,1:12.5")
    return found
