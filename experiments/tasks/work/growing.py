"""Trees `first` to `first + count - 1` of a forest: what a worker computes."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Iterable
from functools import cache
from typing import Any

import lz4.frame
import numpy as np

# Imported with this module, so that processes that are forked from one that has it share it.
import sklearn.ensemble
import sklearn.tree  # noqa: F401
from training.errors import ProgramError

from ..batches.spread import Part
from .estimators import new_estimator
from .samples import samples

_SEEDS = np.iinfo(np.int32).max


def new_forest(path: str, settings: str) -> Any:
    """An estimator by its import path, with settings as YAML. Raises ProgramError where it is no forest or takes no such."""
    from sklearn.ensemble._forest import BaseForest

    estimator = new_estimator(path if "." in path else f"sklearn.ensemble.{path}", settings)
    if not isinstance(estimator, BaseForest):
        raise ProgramError(f"{path} is no forest", "for example RandomForestClassifier or ExtraTreesClassifier")
    return estimator


@cache
def load(dataset: str, limit: int | None) -> None:
    """Have the samples in this process."""
    samples(dataset, limit)


def grow(path: str, settings: str, seed: int, dataset: str, limit: int | None, first: int, count: int) -> Part:
    """Grow these trees; the forest of all batches is, bit for bit, that of one `fit`.

    scikit-learn draws a seed for each tree from the forest's generator, one after the other; as here, it skips the seeds of
    trees that a warm start has already.
    """
    began = time.perf_counter()
    inputs, labels, _, _ = samples(dataset, limit)
    generator = np.random.RandomState(seed)
    generator.randint(_SEEDS, size=first)
    forest = new_forest(path, settings).set_params(n_estimators=count, random_state=generator, n_jobs=1)
    forest.fit(inputs, labels)
    trees = pickle.dumps(forest if first == 0 else forest.estimators_, pickle.HIGHEST_PROTOCOL)
    packed = lz4.frame.compress(trees)  # a fiftieth of the time of growing; zlib would take a tenth
    return Part(packed, (time.perf_counter() - began) / count, len(packed))


def unpacked(packed: bytes) -> Any:
    """What `grow` sent: the trees, and with tree 0 the forest that they are of."""
    return pickle.loads(lz4.frame.decompress(packed))  # noqa: S301 - from our own worker, by TLS


def digest(trees: Iterable[Any]) -> str:
    """SHA-256 of all trees' nodes and values, in order; memory between the fields of a node does not count."""
    found = hashlib.sha256()
    for tree in trees:
        grown = tree.tree_
        for name in ("children_left", "children_right", "feature", "threshold", "impurity", "n_node_samples", "value"):
            found.update(np.ascontiguousarray(getattr(grown, name)).tobytes())
    return found.hexdigest()
