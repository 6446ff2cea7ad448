"""The epochs of each trial, as its rows of epochs.csv come. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.contract.events import LARGEST_NUMBER
from harness.results.rows import Cell, Row


def number(cell: Cell) -> float | None:
    """A finite number of a CSV's cell that can be computed with, None where it has none."""
    try:
        value = float(str(cell))
    except ValueError:
        return None
    return value if abs(value) <= LARGEST_NUMBER else None  # nor is NaN


@dataclass
class Epoch:
    """What the workers said of one epoch so far."""

    workers: int = 0
    images: float = 0.0
    steps: float = 0.0
    slowest: float = 0.0
    """Training time of the slowest worker, s."""
    _accuracies: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """One worker's row."""
        self.workers += 1
        self.images += number(row.get("images")) or 0.0
        self.steps = max(self.steps, number(row.get("steps")) or 0.0)
        self.slowest = max(self.slowest, number(row.get("train_seconds")) or 0.0)
        for key in ("validation_accuracy", "train_accuracy"):
            if (value := number(row.get(key))) is not None:
                total, count = self._accuracies.get(key, (0.0, 0))
                self._accuracies[key] = total + value, count + 1

    @property
    def images_per_second(self) -> float | None:
        """Of all workers, by the slowest one's time, as trials.csv has it."""
        return self.images / self.slowest if self.images > 0 and self.slowest > 0 else None

    def accuracy(self, key: str) -> float | None:
        """Mean over the workers, a fraction; None where none said it."""
        total, count = self._accuracies.get(key, (0.0, 0))
        return total / count if count else None


class Course:
    """The epochs of one trial, by number."""

    def __init__(self) -> None:
        self.epochs: dict[float, Epoch] = {}

    def add(self, row: Row) -> None:
        """One row; one without an epoch's number is left out."""
        if (epoch := number(row.get("epoch"))) is not None:
            self.epochs.setdefault(epoch, Epoch()).add(row)

    def whole(self, workers: float | None = None) -> dict[float, Epoch]:
        """The epochs that all workers have told of, ascending: `workers`, or as many as told of any epoch."""
        needed = max((epoch.workers for epoch in self.epochs.values()), default=0)
        needed = max(needed, int(workers or 0)) if workers and workers < 1e6 else needed
        return {n: self.epochs[n] for n in sorted(self.epochs) if self.epochs[n].workers >= needed}


def images_per_second(epochs: dict[float, Epoch]) -> float | None:
    """Over several epochs; None where nothing says it."""
    images = sum(epoch.images for epoch in epochs.values())
    seconds = sum(epoch.slowest for epoch in epochs.values())
    return images / seconds if images > 0 and seconds > 0 else None


def images_per_step(epochs: dict[float, Epoch]) -> float | None:
    """Of all workers together, by the last of these epochs."""
    last = epochs[max(epochs)] if epochs else Epoch()
    return last.images / last.steps if last.images > 0 and last.steps > 0 else None
