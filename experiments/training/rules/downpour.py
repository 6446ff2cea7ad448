"""`downpour`: every worker steps alone at its own pace, pushes what its gradients add up to, and fetches the servers' values.

    own      = own - rate * gradient
    accrued  = accrued + gradient
    every push_every steps:    servers' values = servers' values - rate / push_every * accrued;  accrued = 0
    every fetch_every steps:   own = servers' values

Downpour SGD: Dean et al. 2012, algorithm 7.1 (n_push, n_fetch). There the servers step by the sum of what was accrued.
With several workers that each push k steps at once that diverges at rates that one step a push can take, so here they
step by its mean: the rate of a push is the rate divided by push_every.
"""

from __future__ import annotations

import numpy as np

from ..sharding import Shares
from .common import Floats, Rule

_ACCRUED = "accrued"


class Downpour(Rule):
    """Nobody waits for anybody; the medium's servers do what `merge` says with everything that comes, as it comes."""

    name = "downpour"
    options = ("push_every", "fetch_every", "adagrad")
    local = True
    apart = True
    copies = 2  # what was accrued, and what is pushed
    media = ("dist_async",)

    def __init__(self, shares: Shares, size: int, *, push_every: int, fetch_every: int, adagrad: bool) -> None:
        super().__init__(shares, size)
        self._images = shares.total / len(shares.sizes)  # of a worker on average, so that every image weighs alike
        self._push_every = push_every
        self._offered: Floats = np.zeros(size, np.float32)
        # Adagrad's servers divide by the gradients' own size: they are sent as they are, and the rate is the servers'
        self._adagrad = adagrad

    def step(self, values: Floats, gradients: Floats, learning_rate: float) -> None:
        """Accrue the gradient; a step of the own values."""
        gradients *= np.float32(1 / self._images)
        accrued = self.state.array(_ACCRUED, gradients.size)
        if self._adagrad:
            accrued += gradients
        gradients *= np.float32(learning_rate)
        if not self._adagrad:
            accrued += gradients
        values -= gradients

    def offer(self, values: Floats, gradients: Floats) -> Floats:
        """The mean of what was accrued since the last push."""
        accrued = self.state.array(_ACCRUED, values.size)
        np.multiply(accrued, np.float32(1 / self._push_every), out=self._offered)
        accrued[:] = 0
        return self._offered

    def merge(self, values: Floats, total: Floats) -> None:
        """The servers' step, with what one worker offers."""
        values -= total


RULE = Downpour
