"""What becomes of volunteers' changes: a rule over a whole round, or each by itself as it arrives. Pure NumPy.

Arriving: shared = shared + mix / sqrt(1 + staleness) * change, where the staleness is how many other changes were applied since
the task was given. The weight by staleness is FedAsync's (Xie, Koyejo and Gupta 2019, section 5.2, polynomial with a = 0.5).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from training.engines.base import Floats
from training.rules import Rule


def fault(change: Floats, centre: Floats, largest: float) -> str:
    """Why a change must not be merged; empty where it may.

    Args:
        change: (n,) float32, no unit.
        centre: (n,) float32, no unit: the shared values.
        largest: a change may be so many times as long as these.
    """
    if change.size != centre.size:
        return "has no values"
    length = float(np.linalg.norm(change.astype(np.float64)))
    if not np.isfinite(length):
        return "is not finite"
    limit = largest * float(np.linalg.norm(centre))
    return f"is too large: its length is {length:.4g}, at most {limit:.4g} is taken" if length > limit else ""


class Merging(ABC):
    """The shared values, and how they change."""

    waits: bool
    """Whether the values change only once a whole round is there."""

    def __init__(self, centre: Floats) -> None:
        """`centre`: (n,) float32, no unit: the first shared values."""
        self.centre = centre

    @abstractmethod
    def add(self, change: Floats, steps: int, staleness: int) -> None:
        """Take a change.

        Args:
            change: (n,) float32, no unit; may be used as scratch.
            steps: it is the work of so many.
            staleness: changes that were applied since its task was given.
        """

    def close(self) -> None:  # noqa: B027 - only some wait for it
        """All steps of the round are there."""


class Rounds(Merging):
    """The mean of all changes, weighted by their steps, goes to a rule, as values where workers meet do."""

    waits = True

    def __init__(self, centre: Floats, rule: Rule) -> None:
        super().__init__(centre)
        self._rule = rule
        self._sum = np.zeros(centre.size, np.float64)
        self._steps = 0

    def add(self, change: Floats, steps: int, staleness: int) -> None:
        """Add it to the round's."""
        self._sum += change.astype(np.float64) * steps
        self._steps += steps

    def close(self) -> None:
        """New shared values by the rule."""
        mean = self.centre + (self._sum / max(self._steps, 1)).astype(np.float32)
        centre = self.centre.copy()  # somebody may be sending the old one
        self._rule.merge(centre, mean)
        self.centre = centre
        self._sum[:] = 0
        self._steps = 0


class Arriving(Merging):
    """Each change is applied when it comes, the less the staler it is."""

    waits = False

    def __init__(self, centre: Floats, mix: float) -> None:
        super().__init__(centre)
        self._mix = mix

    def add(self, change: Floats, steps: int, staleness: int) -> None:
        """Apply it."""
        self.centre = self.centre + np.float32(self._mix / np.sqrt(1 + staleness)) * change
