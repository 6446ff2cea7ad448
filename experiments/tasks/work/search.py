"""A search for an estimator's best parameters, by cross-validation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from training.errors import ProgramError

from ..batches.crews import Call, Work
from ..job import Job
from .samples import require_memory

_CANDIDATES = f"{__package__}.candidates"


class Search(Job):
    """Options: `estimator`, `settings`, `grid`, `candidates`, `folds`, `seed`, `dataset`, `limit`.

    A result is the table of scores, (candidates, folds) float64.
    """

    module = _CANDIDATES

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._count = 0

    @property
    def total(self) -> int:
        """The fits."""
        return self._candidates * self._folds

    def check(self) -> None:
        """The estimator, and every candidate's parameters."""
        from .candidates import listed
        from .estimators import new_estimator

        for candidate in listed(*self._drawn):
            try:
                new_estimator(*self._estimator).set_params(**candidate)
            except ValueError as error:
                raise ProgramError(f"{self._options['estimator']}: {error}", "see its documentation") from None

    def require_memory(self, copies: int) -> None:
        """Every process has the samples."""
        from .candidates import MADE

        if self._options["dataset"] != MADE:
            require_memory(self._options["dataset"], copies)

    def preparation(self) -> Callable[[], None]:
        """Make or read the samples."""
        return Call(_CANDIDATES, "load", self._data)

    def work(self) -> Work:
        """Fit some candidates."""
        return Call(_CANDIDATES, "fit", (*self._estimator, *self._drawn, self._folds, *self._data))

    def alone(self, jobs: int | None) -> Any:
        """scikit-learn's own search; without the last fit of the best candidate on all samples, as every way here."""
        from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

        from .candidates import splits
        from .estimators import mapping, new_estimator

        inputs, labels = self.shared()
        estimator, grid = new_estimator(*self._estimator), dict(mapping(self._options["grid"]))
        kept: dict[str, Any] = {
            "cv": splits(labels, self._folds),
            "refit": False,
            "n_jobs": jobs,
            "error_score": "raise",
        }
        if self._options["candidates"]:
            search = RandomizedSearchCV(
                estimator, grid, n_iter=self._options["candidates"], random_state=self._options["seed"], **kept
            )
        else:
            search = GridSearchCV(estimator, grid, **kept)
        found = search.fit(inputs, labels).cv_results_
        return np.stack([found[f"split{fold}_test_score"] for fold in range(self._folds)], axis=1)

    def assembled(self, parts: Mapping[int, Any]) -> Any:
        """All scores in order."""
        scores = [score for _, part in sorted(parts.items()) for score in part]
        return np.array(scores, np.float64).reshape(-1, self._folds)

    def digest(self, result: Any) -> str:
        """Of the scores."""
        return hashlib.sha256(np.ascontiguousarray(result, np.float64).tobytes()).hexdigest()

    def score(self, result: Any) -> float:
        """The best candidate's mean score."""
        return float(result.mean(axis=1).max())

    def shared(self) -> list[Any]:
        """The samples; always the same objects."""
        from .candidates import load

        return list(load(*self._data))

    @property
    def _candidates(self) -> int:
        from .candidates import listed

        self._count = self._count or len(listed(*self._drawn))
        return self._count

    @property
    def _folds(self) -> int:
        return int(self._options["folds"])

    @property
    def _estimator(self) -> tuple[str, str]:
        return self._options["estimator"], self._options["settings"]

    @property
    def _drawn(self) -> tuple[str, int, int]:
        return self._options["grid"], self._options["candidates"], self._options["seed"]

    @property
    def _data(self) -> tuple[str, int]:
        return self._options["dataset"], self._options["limit"]
