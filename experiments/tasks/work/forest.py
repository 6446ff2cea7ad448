"""A forest of independent trees, on any classified samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..batches.crews import Call, Work
from ..job import Job
from .samples import EMBEDDED, require_memory, samples

_GROWING = f"{__package__}.growing"
_REHEARSED = 4


class Forest(Job):
    """Options: `estimator`, `settings`, `trees`, `seed`, `dataset`, `limit`."""

    module = _GROWING

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options

    @property
    def total(self) -> int:
        """The trees."""
        return int(self._options["trees"])

    @property
    def rehearsed(self) -> int:
        """Some trees on few samples; a tree on many takes long."""
        return _REHEARSED if self._options["dataset"] == EMBEDDED else 0

    def check(self) -> None:
        """The estimator and its settings."""
        self._empty()

    def require_memory(self, copies: int) -> None:
        """Every process has the samples."""
        require_memory(self._options["dataset"], copies)

    def preparation(self) -> Callable[[], None]:
        """Read the samples."""
        return Call(_GROWING, "load", (self._options["dataset"], self._options["limit"]))

    def work(self) -> Work:
        """Grow some trees."""
        names = ("estimator", "settings", "seed", "dataset", "limit")
        return Call(_GROWING, "grow", tuple(self._options[name] for name in names))

    def alone(self, jobs: int | None) -> Any:
        """One `fit`."""
        forest = self._empty().set_params(n_jobs=jobs)
        return forest.fit(*self.shared())

    def received(self, value: Any) -> Any:
        """The trees."""
        from .growing import unpacked

        return unpacked(value)

    def assembled(self, parts: Mapping[int, Any]) -> Any:
        """The forest that came with tree 0, with all others' trees."""
        forest = parts[0]
        trees = [*forest.estimators_, *(tree for first, trees in sorted(parts.items()) if first for tree in trees)]
        forest.set_params(n_estimators=self.total, random_state=self._options["seed"])
        forest.estimators_ = trees
        return forest

    def digest(self, result: Any) -> str:
        """Of all trees."""
        from .growing import digest

        return digest(result.estimators_)

    def score(self, result: Any) -> float:
        """Accuracy on the test samples."""
        _, _, inputs, labels = samples(self._options["dataset"], self._options["limit"])
        return float(result.score(inputs, labels))

    def shared(self) -> list[Any]:
        """The samples; always the same objects, by which joblib knows them again."""
        return list(samples(self._options["dataset"], self._options["limit"])[:2])

    def _empty(self) -> Any:
        from .growing import new_forest

        forest = new_forest(self._options["estimator"], self._options["settings"])
        return forest.set_params(n_estimators=self.total, random_state=self._options["seed"])
