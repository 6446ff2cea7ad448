"""`sgd`: values go against the sum of all workers' gradients, the same as one worker with all the batches."""

from __future__ import annotations

from ..sharding import Shares
from .common import Floats, Rule


class Sgd(Rule):
    """value -= learning_rate * (sum of all gradients) / (images of the global batch), so every image weighs alike.

    Momentum lives with the owners of the slices: it costs no bytes.
    """

    name = "sgd"

    def __init__(self, shares: Shares, size: int) -> None:
        super().__init__(shares, size)
        self._rate = 0.0

    def offer(self, values: Floats, gradients: Floats) -> Floats:
        """The gradients."""
        return gradients

    def meet(self, learning_rate: float) -> None:
        """Take the meeting's learning rate."""
        self._rate = learning_rate

    def merge(self, values: Floats, total: Floats) -> None:
        """One step."""
        self.descent(values, total, self._rate, self._shares.total)


RULE = Sgd
