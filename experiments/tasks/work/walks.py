"""A Monte Carlo simulation: many random walks that know nothing of each other, the plainest map."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..batches.crews import Call, Work
from ..job import Job
from . import walking

_REHEARSED_STEPS = 1_000_000
_REHEARSED_WALKS = 100


class Walks(Job):
    """Options: `walks`, `walk_length`, `seed`. A result is where each walk ended, (walks,) float64."""

    module = walking.__name__

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options

    @property
    def total(self) -> int:
        """The walks."""
        return int(self._options["walks"])

    @property
    def rehearsed(self) -> int:
        """As many as take a moment."""
        return min(_REHEARSED_WALKS, _REHEARSED_STEPS // max(1, int(self._options["walk_length"])))

    def check(self) -> None:
        """Nothing can be wrong that the description does not refuse."""

    def require_memory(self, copies: int) -> None:
        """One walk at a time."""

    def preparation(self) -> Callable[[], None]:
        """Nothing."""
        return Call(self.module, "load")

    def work(self) -> Work:
        """Walk."""
        return Call(self.module, "walk", self._arguments)

    def alone(self, jobs: int | None) -> Any:
        """joblib's map over single walks; in its own words, that is how it is written."""
        from joblib import Parallel, delayed

        tasks = (delayed(walking.ends)(*self._arguments, number, 1) for number in range(self.total))
        return np.array(Parallel(n_jobs=jobs, prefer="threads")(tasks), np.float64).reshape(-1)

    def assembled(self, parts: Mapping[int, Any]) -> Any:
        """All ends in order."""
        return np.array([end for _, part in sorted(parts.items()) for end in part], np.float64)

    def digest(self, result: Any) -> str:
        """Of the ends."""
        return hashlib.sha256(np.ascontiguousarray(result, np.float64).tobytes()).hexdigest()

    def score(self, result: Any) -> None:
        """There is nothing to be right about."""

    def shared(self) -> list[Any]:
        """Nothing is sent."""
        return []

    @property
    def _arguments(self) -> tuple[int, int]:
        return int(self._options["walk_length"]), int(self._options["seed"])
