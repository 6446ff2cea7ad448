"""Fits of a search: what a worker computes, each a candidate on one fold."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import numpy as np
import sklearn.model_selection

# Imported with this module, so that processes that are forked from one that has it share it.
import sklearn.svm
from training.errors import ProgramError

from ..batches.spread import Part
from .estimators import mapping, new_estimator
from .samples import made, samples

MADE = "made"


@cache
def load(dataset: str, count: int) -> tuple[Any, Any]:
    """Inputs and labels: of a data set, or so many made ones."""
    return made(count) if dataset == MADE else samples(dataset, count)[:2]


def listed(grid: str, candidates: int, seed: int) -> list[dict[str, Any]]:
    """The candidates: all of the grid, or so many drawn of it. Raises ProgramError."""
    try:
        if candidates:
            drawn = sklearn.model_selection.ParameterSampler(dict(mapping(grid)), candidates, random_state=seed)
            return [dict(each) for each in drawn]
        return [dict(each) for each in sklearn.model_selection.ParameterGrid(dict(mapping(grid)))]
    except (TypeError, ValueError) as error:
        raise ProgramError(f"{grid} is no grid: {error}", "write lists: {C: [1, 10], kernel: [rbf]}") from None


def splits(labels: Any, folds: int) -> list[tuple[Any, Any]]:
    """Indexes of each fold's training and test samples, as GridSearchCV cuts them for a classifier."""
    return list(sklearn.model_selection.StratifiedKFold(folds).split(np.zeros(len(labels)), labels))


def fit(
    estimator: str, settings: str, grid: str, candidates: int, seed: int, folds: int, dataset: str, limit: int,
    first: int, count: int,
) -> Part:  # fmt: skip
    """Scores of these fits: number `candidate * folds + fold`, in the order in which GridSearchCV makes them."""
    began = time.perf_counter()
    inputs, labels = load(dataset, limit)
    cut, chosen = splits(labels, folds), listed(grid, candidates, seed)
    scores = []
    for number in range(first, first + count):
        train, test = cut[number % folds]
        model = new_estimator(estimator, settings).set_params(**chosen[number // folds])
        scores.append(float(model.fit(inputs[train], labels[train]).score(inputs[test], labels[test])))
    return Part(scores, (time.perf_counter() - began) / count, 8 * count)
