"""MXNet's own distributed key-value store: gradients go to servers, which add them up.

`dist_sync` adds on the servers and updates on the workers: the sums come back, and each worker makes the same step.
MXNet's own default updates on the servers, with an optimizer that worker 0 pickles and sends there. The bytes on the
wire are the same, but every key's update then runs in the server's Python, and the learning rate cannot change without
another pickle. `dist_async` has no such choice: its servers must update, so it pickles.

How arrays are spread over servers is MXNet's, by a bound that is derived from the model: `server_shards.py`.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import ClassVar

import mxnet as mx
import numpy as np

from ...engines.base import Array, Model
from ...errors import ProgramError
from ...reporting.meters import Vector
from ...reporting.phases import BACKWARD, PULL, PUSH, UPDATE, WAIT, Phases
from ...sharding import Shares
from ..base import KVStore
from ..registration import TWO_BIT, Opening
from .server_shards import in_key_order
from .two_bit import bits_of, pushed_threshold, sum_of

_REQUIRED = ("DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NUM_WORKER", "DMLC_NUM_SERVER")


class ParameterServerKVStore(KVStore):
    """What the synchronous and the asynchronous store share: keys, the first values, sums of metrics, waiting."""

    # MXNet's store waits for all workers when it is freed. A worker that fails must leave without that, so until `close`
    # it is held here, where no unwinding stack frees it; see the program's exit.
    _held: ClassVar[list[object]] = []

    def __init__(self, opening: Opening) -> None:
        """Join the others. With the wire 2bit, every push is compressed to two bits a value (see `two_bit.py`)."""
        missing = [name for name in _REQUIRED if not os.environ.get(name)]
        if missing or os.environ.get("DMLC_ROLE") != "worker":
            raise ProgramError(
                f"the store {self.name} needs a scheduler and servers, and the environment names none",
                "start the program through `harness sweep`, or use --kvstore none",
            )
        self._threshold = self._pushed_threshold(opening)
        self._kv = mx.kv.create(self.name)
        self._held.append(self._kv)
        self.implementation = "native" if type(self._kv).__module__.startswith("native_kvstore") else "mxnet"
        self.rank = self._kv.rank
        self.workers = self._kv.num_workers
        # MXNet's threads send, take and apply while this one computes, and later waits: those have no time of their own
        self.phases = Phases(in_turns=opening.engine.in_turns(), hidden=(PUSH, PULL, UPDATE))
        self._reductions = 0
        if self._threshold is not None:  # MXNet's worker 0 tells the servers, and pushes only once they have heard
            self._kv.set_gradient_compression({"type": TWO_BIT, "threshold": self._threshold})

    def _pushed_threshold(self, opening: Opening) -> float | None:
        """The threshold in units of what is pushed; None where pushes are not compressed."""
        options = opening.options
        if options.wire != TWO_BIT:
            return None
        return pushed_threshold(self.name, options.threshold, opening.batch_size, opening.rate)

    def attach(self, model: Model, shares: Shares) -> None:
        """Give the servers worker 0's values (that ends in a barrier, so no push comes too early) and take them."""
        self._model = model
        backward = in_key_order(model.parameters)
        self._keys = list(range(len(backward)))
        self._values = [parameter.value for parameter in backward]
        self._gradients = [parameter.gradient for parameter in backward]
        self._images = shares.total
        self._mark = mx.nd.zeros((1, *model.parameters[0].gradient.shape[1:]))
        self._publish()
        self._kv.pull(self._keys, out=self._values)
        mx.nd.waitall()

    def _publish(self) -> None:
        """Make the keys known to the servers, with this worker's values if it is worker 0; ends in a barrier."""
        self._kv.init(self._keys, self._values)

    @abstractmethod
    def _enqueue(self, learning_rate: float) -> None:
        """Enqueue one exchange and what applies it."""

    def step(self, learning_rate: float) -> None:
        """Exchange and apply. The engine sends each gradient once it is ready, while backward goes on."""
        # backward ends with the first layer's gradient: the mark is there when that is, and before it is sent
        mx.nd.slice_axis(self._gradients[-1], axis=0, begin=0, end=1, out=self._mark)
        self.phases.compute(BACKWARD)
        self._enqueue(learning_rate)
        if not self.phases.in_turns:
            self._mark.wait_to_read()
            self.phases.compute(BACKWARD)
        for value in self._values:
            value.wait_to_read()
        self.phases.lap(WAIT)

    def reduce(self, values: Vector) -> Vector:
        """Sum over workers. Through compression each worker's values go bit by bit, in places of their own: exact."""
        if self._threshold is None:
            return self._sum(values)
        # twice the threshold is sent as the threshold, by the servers' rounding of it too
        mine = bits_of(values, self.rank, self.workers) * np.float64(2 * self._threshold)
        return sum_of(self._sum(mine) > 0, self.workers)

    def _sum(self, values: Vector) -> Vector:
        """Sum over workers, under a key of its own for every call: a key that was updated keeps its past."""
        self._reductions += 1
        key = len(self._keys) + self._reductions
        total = mx.nd.zeros(values.shape)
        self._kv.init(key, total)
        self._add_up(key, mx.nd.array(values, dtype="float32"), total)
        return np.asarray(total.asnumpy(), np.float64)

    @abstractmethod
    def _add_up(self, key: int, part: Array, total: Array) -> None:
        """Fill `total` with the sum of all workers' `part` under a fresh key that holds zeros."""

    def close(self) -> None:
        """Wait until every worker is here: a worker's exit would end the others' servers."""
        mx.nd.waitall()
        self._kv._barrier()
        self._held.clear()
