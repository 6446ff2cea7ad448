"""`dist_async`: servers update."""

from __future__ import annotations

import mxnet as mx

from ...engines.base import Array
from ..registration import Opening
from .base import ParameterServerKVStore


class AsynchronousKVStore(ParameterServerKVStore):
    """`dist_async`: servers apply every worker's gradients as they come; nobody waits for anybody."""

    name = "dist_async"

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        # rate 1: workers scale their gradients, so that the rate can change from step to step
        self._kv.set_optimizer(mx.optimizer.SGD(learning_rate=1.0, wd=0.0))

    def _enqueue(self, learning_rate: float) -> None:
        for gradient in self._gradients:
            gradient[:] *= learning_rate * self.workers / self._images
        self._kv.push(self._keys, self._gradients)
        self._kv.pull(self._keys, out=self._values)

    def _add_up(self, key: int, part: Array, total: Array) -> None:
        self._kv.push(key, -part)
        self._kv.pull(key, out=total)
        total.wait_to_read()  # own part has been applied
        self._kv._barrier()  # and everybody else's
        self._kv.pull(key, out=total)
