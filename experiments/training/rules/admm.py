"""`admm`: every worker minimises its own loss plus a penalty for leaving the shared values, and a price u of the
disagreement grows.

    own    = some steps on  loss(own) + rho / 2 * |own - shared + u|^2
    x      = relaxation * own + (1 - relaxation) * shared
    shared = weighted mean of (x + u)
    u      = u + x - shared

Consensus ADMM in the scaled form: Boyd et al. 2011, section 7.1, with the over-relaxation of section 3.4.3; the
minimisation is not exact: the steps until the next meeting.
"""

from __future__ import annotations

import numpy as np

from ..sharding import Shares
from .average import Average
from .common import Floats

_PRICE = "price"


class Admm(Average):
    """Workers need not see the same kind of images: the price makes up for that."""

    name = "admm"
    options = ("rho", "relaxation")
    apart = True
    copies = 3  # as `average`, the price, and what a worker is away from the shared values

    def __init__(self, shares: Shares, size: int, *, rho: float, relaxation: float) -> None:
        super().__init__(shares, size)
        self._rho = rho
        self._relaxation = np.float32(relaxation)
        self._leaving: Floats = np.zeros(size, np.float32)

    def step(self, values: Floats, gradients: Floats, learning_rate: float) -> None:
        """A step on the own batch's mean gradient and the penalty's."""
        penalty = np.subtract(values, self.centre, out=self._leaving)
        penalty += self.state.array(_PRICE, values.size)
        penalty *= np.float32(self._rho * self._shares.own)  # gradients are sums over the images
        gradients += penalty
        super().step(values, gradients, learning_rate)

    def offer(self, values: Floats, gradients: Floats) -> Floats:
        """The relaxed values plus the price, by the worker's weight."""
        price = self.state.array(_PRICE, values.size)
        relaxed = np.subtract(values, self.centre, out=self._leaving)
        relaxed *= self._relaxation
        relaxed += self.centre
        price += relaxed
        return super().offer(price, gradients)

    def accept(self, values: Floats) -> None:
        """The own values stay; the price is what they are away from the shared ones, in sum."""
        price = self.state.array(_PRICE, values.size)
        price -= self.centre


RULE = Admm
