"""`dist_sync`: servers add up, workers update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from ...engines.base import Array, Model
from ...rules.common import Method
from ...sharding import Shares
from ...stepping import Stepper
from ..registration import Opening
from .base import ParameterServerKVStore


class SynchronousKVStore(ParameterServerKVStore):
    """`dist_sync`: all workers' gradients are summed before anybody goes on."""

    name = "dist_sync"

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        self._method = Method.of(opening.options.own)

    def attach(self, model: Model, shares: Shares) -> None:
        """As the others; every worker makes the same steps, so each has the same velocity."""
        super().attach(model, shares)
        self._stepper = Stepper(model, self._method)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The steps' velocity."""
        return {**self._stepper.state()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """The steps' velocity."""
        self._stepper.restore(state)

    def _enqueue(self, learning_rate: float) -> None:
        # in place: the sums overwrite the gradients
        if self._threshold is None:
            self._kv.pushpull(self._keys, self._gradients)
        else:  # MXNet compresses no pushpull
            self._kv.push(self._keys, self._gradients)
            self._kv.pull(self._keys, out=self._gradients)
        self._stepper.step(learning_rate, self._images)

    def _add_up(self, key: int, part: Array, total: Array) -> None:
        self._kv.push(key, part)
        self._kv.pull(key, out=total)
