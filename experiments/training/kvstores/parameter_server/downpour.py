"""`dist_async` with the rule `downpour`: workers step alone, push now and then, and fetch now and then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mxnet as mx
import numpy as np
import numpy.typing as npt

from ...engines.base import Model
from ...reporting.phases import BACKWARD
from ...rules.downpour import Downpour
from ...sharding import Shares
from ..registration import Opening
from .asynchronous import AsynchronousKVStore
from .server_adagrad import Adagrad


class DownpourKVStore(AsynchronousKVStore):
    """Servers apply every push as it comes; what all share are the servers' values."""

    shared = False

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        self._own = {name: opening.options.own[name] for name in Downpour.options}
        self._rate = opening.rate
        self._steps = 0

    def attach(self, model: Model, shares: Shares) -> None:
        """Every buffer has a rule of its own, and an array that is pushed: a pull is received into what was pushed last."""
        super().attach(model, shares)
        self._memories = [
            (model.memory(value), model.memory(gradient))
            for value, gradient in zip(self._values, self._gradients, strict=True)
        ]
        self._rules = [Downpour(shares, value.size, **self._own) for value in self._values]
        self._pushed = [mx.nd.zeros(value.shape) for value in self._values]
        if self._own["adagrad"]:
            self._kv.set_optimizer(Adagrad(learning_rate=self._rate, first_sum=len(self._keys)))

    def _enqueue(self, learning_rate: float) -> None:
        self._steps += 1
        for (values, gradients), rule in zip(self._memories, self._rules, strict=True):
            own, slopes = values.settled(), gradients.settled()
            self.phases.compute(BACKWARD)
            rule.step(own, slopes, learning_rate)
        if self._steps % self._own["push_every"] == 0:
            self._push()
        if self._steps % self._own["fetch_every"] == 0:
            self._kv.pull(self._keys, out=self._values)

    def _push(self) -> None:
        for (values, gradients), rule, pushed in zip(self._memories, self._rules, self._pushed, strict=True):
            offered = rule.offer(values.settled(), gradients.settled())
            pushed[:] = offered.reshape(pushed.shape)
        self._kv.push(self._keys, self._pushed)

    def finish(self) -> None:
        """Push the rest, and take what came of everybody's."""
        if self._steps % self._own["push_every"]:
            self._push()
        self._kv.pull(self._keys, out=self._values)
        mx.nd.waitall()  # the own push has been applied
        self._kv._barrier()  # and everybody else's
        self._kv.pull(self._keys, out=self._values)
        mx.nd.waitall()

    @contextmanager
    def shared_values(self) -> Iterator[None]:
        """The servers', as they are now."""
        own = [values.settled().copy() for values, _ in self._memories]
        self._kv.pull(self._keys, out=self._values)
        mx.nd.waitall()
        yield
        for (values, _), kept in zip(self._memories, own, strict=True):
            values.settled()[:] = kept

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Nothing: a worker that goes on begins with the servers' values, and what it had not pushed is lost."""
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Nothing to take."""

    def reduce(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """As the others."""
        return super().reduce(values)
