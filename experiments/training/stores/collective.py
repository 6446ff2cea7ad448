"""`allreduce`: the workers add up their gradients among themselves. Plain TCP; needs no servers and nothing but NumPy.

The same mathematics as `dist_sync`: every step uses the average over all workers' batches, and all workers have the same
bits afterwards. The owner of a shard applies the step to it and sends the new values, so each value is updated once in the
whole cluster.

The model lies in two buffers (`collective_shards.split`) with a set of connections each. The big one's sums travel while
backward still runs through the convolutions, its new values while the next forward does. The small one's exchange has
nothing to hide behind and must not queue behind the big one's bytes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ProgramError
from .base import Parameter, Store, Vector
from .collective_exchange import Exchange
from .collective_links import Links, Seat
from .collective_memory import Memory
from .collective_shards import split

_CHANNELS = 2


class CollectiveStore(Store):
    """All workers are peers; `rank` is the launch order."""

    name = "allreduce"
    by_parts = True

    def __init__(self) -> None:
        self._links = Links(Seat.from_environment(), _CHANNELS)
        self.rank = self._links.rank
        self.workers = self._links.workers
        self._parts: list[_Part] = []

    def buckets(self, sizes: Sequence[int]) -> list[int]:
        """Two: what precedes the largest array, and the rest."""
        return split(sizes)

    def attach(self, parameters: Sequence[Parameter]) -> None:
        """Make sure that all workers train one model, and take worker 0's values."""
        layout = [(parameter.name, parameter.value.size) for parameter in parameters]
        _agree(self._links, repr(layout))
        self._parts = [_Part(parameter, self._links, channel) for channel, parameter in enumerate(parameters)]
        for part in self._parts:
            part.take_first_values()

    def before_part(self, number: int) -> None:
        """Wait for the part's new values."""
        self._waiting(self._parts[number].arrive)

    def after_part(self, number: int) -> None:
        """Send the part's gradients to the owners."""
        self._parts[number].depart()

    def settle(self) -> None:
        """Wait for all new values."""
        for number in range(len(self._parts)):
            self.before_part(number)

    def step(self, learning_rate: float, batch_size: int) -> None:
        """Update the own shards and send them; first the ones that the next forward needs first."""
        scale = np.float32(learning_rate / (batch_size * self.workers))
        for number in reversed(range(len(self._parts))):
            self.after_part(number)
        for part in self._parts:
            self._waiting(part.update, scale)

    def reduce(self, values: Vector) -> Vector:
        """Sum in double precision."""
        return np.asarray(Exchange(self._links, 0, len(values), np.float64).sum(values.astype(np.float64)))

    def close(self) -> None:
        """Wait for all values and for all workers, and part."""
        self.settle()
        self.reduce(np.zeros(1))
        self._links.close()

    def _waiting(self, call: Any, *arguments: Any) -> None:
        start = time.perf_counter()
        call(*arguments)
        self.wait_seconds += time.perf_counter() - start


class _Part:
    """One buffer of the model and where its exchange stands."""

    def __init__(self, parameter: Parameter, links: Links, channel: int) -> None:
        self._value = Memory(parameter.value)
        self._gradient = Memory(parameter.gradient)
        self._exchange = Exchange(links, channel, parameter.value.size, np.float32)
        self._departed = False
        self._expected = False

    def take_first_values(self) -> None:
        """All but worker 0 add nothing, so the sum is what worker 0 has."""
        values = self._value.settled()
        values[:] = self._exchange.sum(values if self._exchange.rank == 0 else np.zeros_like(values))

    def depart(self) -> None:
        """Send gradients, once a step."""
        if not self._departed:
            self._departed = True
            self._exchange.scatter(self._gradient.settled())

    def update(self, scale: np.float32) -> None:
        """Collect the gradients of the own shard, step, and send the new values."""
        total = self._exchange.collect()
        total *= scale
        values = self._value.settled()
        values[self._exchange.own] -= total
        self._exchange.share(values)
        self._departed, self._expected = False, True

    def arrive(self) -> None:
        """Take the others' new values."""
        if self._expected:
            self._expected = False
            self._exchange.gather(self._value.settled())


def _agree(links: Links, layout: str) -> None:
    """Raise ProgramError where another worker's model is laid out otherwise: the sums would be of unlike things."""
    digest: npt.NDArray[np.uint8] = np.frombuffer(hashlib.sha256(layout.encode()).digest(), np.uint8)
    seen = Exchange(links, 0, digest.size * links.workers, np.uint8)
    mine = np.zeros(digest.size * links.workers, np.uint8)
    mine[links.rank * digest.size : (links.rank + 1) * digest.size] = digest
    table = seen.sum(mine).reshape(links.workers, digest.size)
    unlike = [rank for rank in range(links.workers) if (table[rank] != digest).any()]
    if unlike:
        raise ProgramError(
            f"workers {', '.join(map(str, unlike))} train another model than worker {links.rank}",
            "give all workers of a trial the same program and options",
        )
