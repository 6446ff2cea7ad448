"""The samples that estimators learn from: read from each node's own disk, once in a process."""

from __future__ import annotations

import math
import os
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from contract import wire
from training.datasets import load, named
from training.errors import ProgramError
from training.options import data_directory

EMBEDDED = "digits"
_TEST_SHARE = 0.25
_SPLIT_SEED = 0
_USABLE = 0.6
"""Of a node's memory, for the samples in all its processes; the rest is for what is computed from them."""

Split = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int64]]


@cache
def samples(name: str, limit: int | None = None) -> Split:
    """Training inputs (n, values) and labels (n,), then those for the test. Raises ProgramError.

    `digits` is cut as the published notebook cuts it: `train_test_split(test_size=.25, random_state=0)`; other data sets have
    a test part of their own. Inputs are pixels as they are, float32, which is what trees compute with.
    """
    if name == EMBEDDED:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        inputs, labels = load_digits(return_X_y=True)
        train, test, train_labels, test_labels = train_test_split(
            inputs, labels, test_size=_TEST_SHARE, random_state=_SPLIT_SEED
        )
        cut = slice(limit)
        return train[cut].astype(np.float32), train_labels[cut], test.astype(np.float32), test_labels
    found = load(name, data_directory(None), limit)
    return *_flat(found.train), *_flat(found.validation)


def made(count: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The published search's samples: `make_classification(n_samples=count, random_state=0)`."""
    from sklearn.datasets import make_classification

    inputs, labels = make_classification(n_samples=count, random_state=_SPLIT_SEED)
    return inputs, labels


def require_memory(name: str, processes: int, environment: Any = os.environ) -> None:
    """Raise ProgramError where the samples would not fit a node's memory, before anything is read."""
    limit = environment.get(wire.MEMORY_BYTES)
    if limit is None or name == EMBEDDED:
        return
    needed = _IMAGES * math.prod(named(name).images) * _BYTES * processes
    if needed > _USABLE * int(limit):
        raise ProgramError(
            f"{name} needs about {needed >> 20} MiB in {processes} processes; {environment.get(wire.NODE, 'this node')} has "
            f"{int(limit) >> 20} MiB",
            "use --set pool=threads, a smaller data set, or --set limit=N",
        )


_IMAGES = 70_000
_BYTES = 5
"""Of a pixel: as it is read and as float32."""


def _flat(split: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    return split.images.reshape(len(split.images), -1).astype(np.float32), split.labels.astype(np.int64)
