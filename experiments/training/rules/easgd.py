"""`easgd`: every worker keeps values of its own, and an elastic force draws them and the shared ones together.

    own    = own - pull * weight * (own - shared)
    shared = (1 - pull) * shared + pull * weighted mean of the workers' own values (as they came)

Elastic averaging SGD, synchronous: Zhang, Choromanska and LeCun 2015, equations 2 to 4, with beta = `elasticity` and
alpha = beta / workers (where batches are even), after a period of plain steps. The worker's step comes before the meeting.
"""

from __future__ import annotations

import numpy as np

from ..sharding import Shares
from .average import Average
from .common import Floats


class Easgd(Average):
    """The shared values move slowly, the workers explore around them."""

    name = "easgd"
    options = ("elasticity",)
    apart = True
    copies = 2  # as `average`, and the force

    def __init__(self, shares: Shares, size: int, *, elasticity: float) -> None:
        super().__init__(shares, size)
        self._pull = np.float32(elasticity)

    def offer(self, values: Floats, gradients: Floats) -> Floats:
        """The own values by their weight; after that they give way to the force."""
        offered = super().offer(values, gradients)
        force = values - self.centre
        force *= self._pull * self.weight
        values -= force
        return offered

    def merge(self, values: Floats, total: Floats) -> None:
        """Move the shared values towards the mean."""
        total -= values
        total *= self._pull
        values += total

    def accept(self, values: Floats) -> None:
        """The own values stay."""


RULE = Easgd
