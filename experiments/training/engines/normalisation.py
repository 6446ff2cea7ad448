"""Batch normalisation by the statistics of all workers' images, forward and backward, in NumPy: the same for every engine.

Each worker tells its means and sums of squared differences from them, forward, and its sums of errors, backward; all add up in
the same order, so that all have the same bits. That is what one process with all the images computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import ProgramError
from ..models.architecture import Architecture
from ..models.layers import Normalisation, Shape

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

LOCAL, SYNCHRONISED = "local", "synchronised"
"""Values of `--batch-statistics`."""


class Gather(Protocol):
    """What all workers have to tell of a step. All ask in the same order, one time after the other, from any thread."""

    images: Sequence[int]
    """Of each worker's part of a step."""

    def rows(self, own: Doubles) -> Doubles:
        """Every worker's numbers, by rank.

        Args:
            own: (count,) float64, in any units: this worker's.

        Returns:
            (workers, count) float64, in the same units.
        """


def synchronised(own: Mapping[str, Any]) -> bool:
    """Whether workers normalise by the images of all, by the program's parameters."""
    return own.get("batch_statistics") == SYNCHRONISED


def check(architecture: Architecture, own: Mapping[str, Any]) -> None:
    """Raise ProgramError where statistics are to be synchronised of a model without; `own` are the program's parameters."""
    if synchronised(own) and not architecture.statistics:
        raise ProgramError(
            f"{architecture.name} has no batch normalisation", "leave --batch-statistics out, or choose another model"
        )


class SharedNormalisation:
    """One layer. Between a forward and its backward it keeps the statistics alone."""

    def __init__(self, layer: Normalisation, before: Shape, gather: Gather, *, unbiased: bool) -> None:
        """`unbiased`: whether the kept variance is the sum of squares by one less than the values, as PyTorch has it."""
        self._layer = layer
        self._gather = gather
        self._counts = np.array(gather.images, np.float64) * np.prod(before[1:], dtype=np.float64)
        self._count = self._counts.sum()
        self._kept = self._count / (self._count - 1) if unbiased else 1.0

    def forward(self, values: Floats, scale: Floats, shift: Floats, out: Floats) -> None:
        """Normalise.

        Args:
            values: (images, channels, side, side) or (images, channels) float32, no unit.
            scale: (channels,) float32, no unit.
            shift: (channels,) float32, no unit.
            out: (images, channels, side, side) or (images, channels) float32, no unit; to be filled.
        """
        flat, made = _by_channel(values), _by_channel(out)
        means = _sums(flat) / (flat.shape[0] * flat.shape[2])
        np.subtract(flat, _column(means), out=made)
        rows = self._gather.rows(np.concatenate([means, _sums(made * made)]))
        of_all, squares = np.split(rows, 2, axis=1)
        counts = self._counts[:, None]
        self._mean = (counts * of_all).sum(axis=0) / self._count
        # Chan, Golub and LeVeque (1979): sums of squares around the workers' own means, and around that of all
        self._variance = (squares + counts * (of_all - self._mean) ** 2).sum(axis=0) / self._count
        self._inverse = 1 / np.sqrt(self._variance + self._layer.epsilon)
        np.subtract(flat, _column(self._mean), out=made)
        made *= _column(self._inverse * scale)
        made += _column(shift)

    def keep(self, mean: Floats, variance: Floats) -> None:
        """Let the kept statistics follow those of the last forward.

        Args:
            mean: (channels,) float32, in units of what is normalised; changed.
            variance: (channels,) float32, in the square of these units; changed.
        """
        old = self._layer.momentum
        mean[:] = old * mean + (1 - old) * self._mean
        variance[:] = old * variance + (1 - old) * self._variance * self._kept

    def backward(self, values: Floats, scale: Floats, errors: Floats, out: Floats) -> tuple[Doubles, Doubles]:
        """The gradients of the last forward: this worker's part of the sum over all workers' images.

        Args:
            values: (images, channels, side, side) or (images, channels) float32, no unit: as `forward` had them.
            scale: (channels,) float32, no unit.
            errors: (images, channels, side, side) or (images, channels) float32, no unit: the gradient of what `forward` made.
            out: (images, channels, side, side) or (images, channels) float32, no unit; for the gradient of `values`.

        Returns:
            (channels,) float64, no unit: the gradients of scale and of shift.
        """
        flat, wrong, made = map(_by_channel, (values, errors, out))
        normal = (flat - _column(self._mean)) * _column(self._inverse)
        own = _sums(wrong * normal), _sums(wrong)
        rows = self._gather.rows(np.concatenate(own))
        of_scale, of_shift = np.split(rows.sum(axis=0) / self._count, 2)
        normal *= _column(of_scale)
        np.subtract(wrong, normal, out=made)
        made -= _column(of_shift)
        made *= _column(self._inverse * scale)
        return own


def _by_channel(values: Floats) -> Floats:
    """(images, channels, places); no copy."""
    return values.reshape(*values.shape[:2], -1)


def _column(values: npt.NDArray[np.floating]) -> Floats:
    return values.astype(np.float32)[:, None]


def _sums(values: Floats) -> Doubles:
    """By channel: pairwise within an image, in double precision over images."""
    found: Doubles = values.sum(axis=2).sum(axis=0, dtype=np.float64)
    return found
