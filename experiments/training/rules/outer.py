"""`outer`: as `average`, but what the workers' mean changed is a gradient of its own, for a step with momentum.

    change = shared - mean of the workers' values
    momentum = outer_momentum * momentum + change
    shared = shared - outer_rate * momentum

or, Nesterov's, shared = shared - outer_rate * (change + outer_momentum * momentum).

SlowMo (Wang et al. 2020, equations 2 and 3, at a constant rate) is the first form, DiLoCo (Douillard et al. 2023,
algorithm 1) the second one. The momentum lives with the owners of the slices: it costs no bytes.
"""

from __future__ import annotations

import numpy as np

from ..sharding import Shares
from .average import Average
from .common import Floats

_MOMENTUM = "outer_momentum"


class Outer(Average):
    """Needs the shared values of the last meeting, beside the worker's own."""

    name = "outer"
    options = ("outer_momentum", "outer_rate", "outer_nesterov")
    keeps = True
    slice_copies = 1  # momentum

    def __init__(
        self, shares: Shares, size: int, *, outer_momentum: float, outer_rate: float, outer_nesterov: bool
    ) -> None:
        super().__init__(shares, size)
        self._momentum = np.float32(outer_momentum)
        self._outer_rate = np.float32(outer_rate)
        self._nesterov = outer_nesterov

    def merge(self, values: Floats, total: Floats) -> None:
        """A step of the shared values."""
        change = np.subtract(values, total, out=total)
        momentum = self.state.array(_MOMENTUM, total.size)
        momentum *= self._momentum
        momentum += change
        if self._nesterov:
            change += self._momentum * momentum
            change *= self._outer_rate
        else:
            np.multiply(momentum, self._outer_rate, out=change)
        values -= change


RULE = Outer
