"""`average`: every worker steps alone; when they meet, all take the mean of their values.

By cadence: local SGD (Stich 2019) every so many steps; FedAvg (McMahan et al. 2017) at an epoch's end, each worker with
images of its own; Parallel SGD (Zinkevich et al. 2010) once at the end.
"""

from __future__ import annotations

import numpy as np

from ..sharding import Shares
from .common import Floats, Rule


class Average(Rule):
    """The mean is weighted by the workers' images. Other mathematics than `sgd`, except where they meet in every step."""

    name = "average"
    local = True
    exact = True  # rounded values would lose what single steps change
    copies = 1  # the own values by their weight

    def __init__(self, shares: Shares, size: int) -> None:
        super().__init__(shares, size)
        self.weight = np.float32(shares.own / shares.total)
        """Of the own values in the mean."""
        self._weighted: Floats = np.zeros(size, np.float32)

    def step(self, values: Floats, gradients: Floats, learning_rate: float) -> None:
        """A step on the own batch's mean gradient."""
        self.descent(values, gradients, learning_rate, self._shares.own)

    def offer(self, values: Floats, gradients: Floats) -> Floats:
        """The own values by their weight."""
        return np.multiply(values, self.weight, out=self._weighted)

    def merge(self, values: Floats, total: Floats) -> None:
        """Take the mean."""
        np.copyto(values, total)


RULE = Average
