"""The arrays of a model: what they are for, their first values, and their digest."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float32]

WEIGHT, BIAS, SCALE, SHIFT, MEAN, VARIANCE = "weight", "bias", "scale", "shift", "mean", "variance"

GLOROT, HE = DRAWN = ("glorot", "he")
"""How first weights are drawn: uniformly, within limits by Glorot and Bengio (2010), or, for layers before relu, by He and
others (2015)."""

_ONES = (SCALE, VARIANCE)
_DRAWN = (WEIGHT, BIAS)


@dataclass(frozen=True)
class ArraySpec:
    """One float32 array of a model."""

    name: str
    shape: tuple[int, ...]
    kind: str
    """`weight`, `bias`, `scale` or `shift` (trained), `mean` or `variance` (a normalisation's statistics)."""

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)


def first_values(arrays: Iterable[ArraySpec], seed: int, drawn: str = GLOROT) -> dict[str, Weights]:
    """First values by name: weights are drawn, scales and variances 1, all others 0.

    Drawn by NumPy's RandomState, whose stream is frozen: the same whatever trains them.

    Args:
        arrays: in forward order.
        seed: of the stream.
        drawn: one of `DRAWN`.

    Returns:
        as `Architecture.shapes` gives, float32, no unit.
    """
    random = np.random.RandomState(seed)
    values: dict[str, Weights] = {}
    for array in arrays:
        if array.kind in _DRAWN:  # biases too: they were once, and the arrays behind them must stay as they are
            limit = _LIMITS[drawn](array.shape) if array.kind == WEIGHT else 0.0
            values[array.name] = random.uniform(-limit, limit, array.shape).astype(np.float32)
        else:
            values[array.name] = np.full(array.shape, float(array.kind in _ONES), np.float32)
    return values


def digest(weights: Mapping[str, Weights]) -> str:
    """SHA-256 over all values in forward order, little-endian.

    Args:
        weights: by name, as `Architecture.shapes` gives, float32, no unit.
    """
    found = hashlib.sha256()
    for array in weights.values():
        found.update(np.ascontiguousarray(array, "<f4").data)
    return found.hexdigest()


def _glorot_limit(shape: tuple[int, ...]) -> float:
    return math.sqrt(6 / ((shape[0] + shape[1]) * math.prod(shape[2:])))


def _he_limit(shape: tuple[int, ...]) -> float:
    return math.sqrt(6 / math.prod(shape[1:]))


_LIMITS = {GLOROT: _glorot_limit, HE: _he_limit}
