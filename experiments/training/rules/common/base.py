"""What a medium asks of a rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from ...sharding import Shares
from .descent import Descent
from .state import Floats, State


class Rule(ABC):
    """One buffer's rule on one worker. All arrays are flat float32.

    In every step:     `step`, where the rule is `local`
    where they meet:   `offer`, whose answer is summed over the workers; `meet`; `merge` on a slice of the shared values and of
                       the sum, wherever the medium adds it up; `accept`, once all shared values are new
    """

    name: ClassVar[str]
    """Its value of `--rule`, and its module's name."""

    options: ClassVar[tuple[str, ...]] = ()
    """The program's parameters that are meant for it alone."""

    local: ClassVar[bool] = False
    """Whether every worker steps by itself. Only then may there be steps in which the workers do not meet."""

    exact: ClassVar[bool] = False
    """Whether what is offered must not be rounded on its way."""

    apart: ClassVar[bool] = False
    """Whether a worker's own values go on after a meeting, other than the shared ones."""

    keeps: ClassVar[bool] = False
    """Whether it needs more between meetings than a worker's own values and velocity: the shared values of the last one, or
    arrays in `state`."""

    copies: ClassVar[int] = 0
    """Arrays as large as the buffer that it needs beside the shared values and the velocity: a worker's memory is estimated
    by them."""

    slice_copies: ClassVar[int] = 0
    """Arrays as large as the slice that it merges, likewise."""

    media: ClassVar[tuple[str, ...]] = ("allreduce",)
    """Values of `--kvstore` that can carry it."""

    def __init__(self, shares: Shares, size: int, **options: Any) -> None:
        """`shares` is how the workers share every batch, `size` the buffer's elements, `options` the values of its options."""
        self._shares = shares
        self.state = State()
        """What it keeps between steps: part of a checkpoint."""
        self.descent = Descent(state=self.state)
        """How values are changed by gradients."""
        self.centre: Floats = np.zeros(0, np.float32)
        """(size,) float32, no unit: the shared values, the same on all workers after a meeting. They are the worker's own ones
        where the rule is not `apart` and workers meet at every epoch's end."""

    def step(self, values: Floats, gradients: Floats, learning_rate: float) -> None:
        """Change the own values.

        Args:
            values: (size,) float32, no unit.
            gradients: (size,) float32, no unit: sums over the own batch; may be used as scratch.
            learning_rate: of the step.
        """
        return

    @abstractmethod
    def offer(self, values: Floats, gradients: Floats) -> Floats:
        """What this worker adds to the sum.

        Args:
            values: (size,) float32, no unit; a rule that is `apart` may change them.
            gradients: (size,) float32, no unit, sums over the own batch.

        Returns:
            (size,) float32, no unit; it must stay as it is until it is merged, and may then be used as scratch.
        """

    def meet(self, learning_rate: float) -> None:
        """Learn of the meeting whose sum `merge` will be given."""
        return

    @abstractmethod
    def merge(self, values: Floats, total: Floats) -> None:
        """Make values new from the sum over the workers.

        Args:
            values: (n,) float32, no unit: one slice of the shared values, in every meeting the same one.
            total: (n,) float32, no unit: the same slice of the sum; may be used as scratch.
        """

    def accept(self, values: Floats) -> None:
        """Take the shared values, which are new.

        Args:
            values: (size,) float32, no unit: the own ones.
        """
        if values is not self.centre:
            np.copyto(values, self.centre)
