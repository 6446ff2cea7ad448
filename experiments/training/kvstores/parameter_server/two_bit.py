"""MXNet's 2-bit compression of what workers push, and exact numbers through it. Pure.

The worker adds what it pushes to a residual of its own, and sends of each value the threshold, its negative or nothing; what
was sent leaves the residual. (src/kvstore/gradient_compression-inl.h in MXNet 1.9.1; Strom, "Scalable distributed DNN
training using commodity GPU cloud computing", Interspeech 2015.) First values of a key go as they are, and pulls are
float32: one way alone is compressed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...errors import ProgramError
from ...reporting.meters import Vector

DEFAULT_THRESHOLD = 0.03
"""On MNIST as good as 0.01, and better than 0.001, 0.003 and 0.1: docs/explanation/training.md has the accuracies."""

_DECIMALS = 6
"""MXNet prints the threshold for its servers, with so many (`GradientCompression::EncodeParams`)."""

_DOUBLE_BITS = 64


def pushed_threshold(store: str, threshold: float | None, batch_size: int, rate: float) -> float:
    """The threshold in units of what `store` pushes, from one in units of a worker's mean gradient, or the default.

    `dist_sync` pushes sums over `batch_size` images, `dist_async` mean gradients times the learning rate, at most `rate`.
    Raises ProgramError where MXNet's servers would read 0.
    """
    threshold = threshold or DEFAULT_THRESHOLD
    pushed = round(threshold * (batch_size if store == "dist_sync" else rate), _DECIMALS)
    if not pushed:
        raise ProgramError(
            f"the threshold {threshold:g} is too small: {store} pushes gradients so scaled that MXNet would take it for 0",
            f"use --threshold {DEFAULT_THRESHOLD:g} or so",
        )
    return pushed


def bits_of(values: Vector, place: int, places: int) -> npt.NDArray[np.uint8]:
    """The bits of numbers in one row of many, the others 0. Sums of such arrays lose nothing.

    Args:
        values: (n,) float64, in any units.
        place: the row.
        places: how many rows.

    Returns:
        (bits,) uint8, 0 and 1, no unit; flat.
    """
    table = np.zeros((places, _DOUBLE_BITS * values.size), np.uint8)
    table[place] = np.unpackbits(values.astype(np.float64).view(np.uint8))
    return table.ravel()


def sum_of(bits: npt.NDArray[np.bool_], places: int) -> Vector:
    """The sum of all places' numbers.

    Args:
        bits: (bits,) bool, no unit: all places' `bits_of` added up.
        places: how many rows.

    Returns:
        (n,) float64, in the numbers' own units.
    """
    table: Vector = np.packbits(bits).view(np.float64).reshape(places, -1)
    return np.asarray(table.sum(axis=0))
