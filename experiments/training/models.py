"""The models: what they are made of and their first weights. Pure; `network.py` runs them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

KERNEL = 5
CLASSES = 10

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Architecture:
    """A LeNet: 5x5 convolutions, each with tanh and 2x2 pooling, then dense layers with tanh, then ten classes."""

    side: int
    """Height and width of the images it sees, padding included."""
    convolutions: tuple[int, ...]
    """Filters of each convolution."""
    hidden: tuple[int, ...]
    """Units of each hidden dense layer."""
    pooling: str
    """`avg` or `max`."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every array, in forward order: weight then bias of each layer."""
        shapes: dict[str, tuple[int, ...]] = {}
        channels, side = 1, self.side
        for number, filters in enumerate(self.convolutions, 1):
            shapes[f"conv{number}_weight"] = (filters, channels, KERNEL, KERNEL)
            shapes[f"conv{number}_bias"] = (filters,)
            channels, side = filters, (side - KERNEL + 1) // 2
        inputs = channels * side * side
        for number, units in enumerate((*self.hidden, CLASSES), 1):
            shapes[f"dense{number}_weight"] = (units, inputs)
            shapes[f"dense{number}_bias"] = (units,)
            inputs = units
        return shapes

    def sizes(self) -> list[int]:
        """Elements of every array, in forward order."""
        return [math.prod(shape) for shape in self.shapes().values()]

    def parameters(self) -> int:
        """Number of trained values."""
        return sum(self.sizes())

    def first_weights(self, seed: int) -> dict[str, Weights]:
        """Glorot's uniform initialisation, biases zero; drawn by NumPy, so the same whatever trains it."""
        random = np.random.RandomState(seed)
        weights: dict[str, Weights] = {}
        for name, shape in self.shapes().items():
            field = math.prod(shape[2:])
            limit = math.sqrt(6 / ((shape[0] + shape[1]) * field)) if len(shape) > 1 else 0.0
            weights[name] = random.uniform(-limit, limit, shape).astype(np.float32)
        return weights


def filled_up(filters: Sequence[int], vector: int) -> list[int]:
    """Filters that each convolution computes so that the next one finds at least a vector of channels; the last one's stay."""
    return [*(max(count, vector) for count in filters[:-1]), *filters[-1:]]


def digest(weights: dict[str, Weights]) -> str:
    """SHA-256 over all values in forward order, float32 little-endian."""
    return hashlib.sha256(b"".join(array.astype("<f4").tobytes() for array in weights.values())).hexdigest()


ARCHITECTURES = {
    "lenet5": Architecture(side=32, convolutions=(6, 16), hidden=(120, 84), pooling="avg"),
    "lenet": Architecture(side=28, convolutions=(20, 50), hidden=(500,), pooling="max"),
}
