"""Two ways to add up one flat float32 buffer over all workers and to make something of the sum, in the same order of ranks.

Either way costs one message to and from some workers in each of two turns. `ShardedSum` moves the fewest bytes, in messages
to everybody; `GroupedSum` sends whole buffers in the fewest messages. Each message costs a node processor time at both ends,
however short it is, so a small buffer is better sent whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..phases import PULL, PUSH, UPDATE
from .collective_exchange import Exchange, added, as_bytes
from .collective_links import Links
from .collective_shards import route

Floats = npt.NDArray[np.float32]
Apply = Callable[[Floats, slice], None]
"""Makes the part of the model in the slice new, from the sum there, which may be used as scratch."""

SMALL_BYTES = 16_384
"""Up to here buffers travel whole. LeNet-5's convolutions have 10 kB: each of 11 workers then sends 5 messages instead of 20,
and 51 kB instead of 19."""


class Sum(ABC):
    """`begin`, `proceed`, `finish`, in this order, again and again; between them the kernel moves the bytes."""

    @abstractmethod
    def begin(self, mine: Floats) -> None:
        """Send this worker's numbers, which stay untouched until `finish` has returned."""

    @abstractmethod
    def proceed(self, values: Floats) -> None:
        """Take the others' numbers and pass on what came of them; `values` may be new in part."""

    @abstractmethod
    def finish(self, values: Floats) -> None:
        """Wait for the rest: `values` are then new, with the same bits on all workers."""


def sum_over(links: Links, channel: int, size: int, apply: Apply) -> Sum:
    """The cheaper one for a buffer of so many elements."""
    kind = GroupedSum if size * np.dtype(np.float32).itemsize <= SMALL_BYTES else ShardedSum
    return kind(links, channel, size, apply)


class ShardedSum(Sum):
    """Every worker adds up and applies its own shard, and sends the new values to everybody."""

    def __init__(self, links: Links, channel: int, size: int, apply: Apply) -> None:
        self._phases = links.phases
        self._apply = apply
        self._exchange = Exchange(links, channel, size, np.float32)

    def begin(self, mine: Floats) -> None:
        """Send everybody their shard."""
        self._exchange.scatter(mine)

    def proceed(self, values: Floats) -> None:
        """Make the own shard new and send it."""
        self._apply(added(self._exchange.collect()), self._exchange.own)
        self._phases.lap(UPDATE)
        self._exchange.share(values)

    def finish(self, values: Floats) -> None:
        """Take the others' shards."""
        self._exchange.gather(values)


class GroupedSum(Sum):
    """In groups: all numbers to the own group, then its sum to one worker after the other of every other group.

    Every worker adds up the same groups' sums in the same order and applies all of it.
    """

    def __init__(self, links: Links, channel: int, size: int, apply: Apply) -> None:
        self._phases = links.phases
        self._apply = apply
        self._all = slice(0, size)
        way = route(links.rank, links.workers)
        self._members: Floats = np.zeros((len(way.group), size), np.float32)
        self._groups: Floats = np.zeros((len(way.sources), size), np.float32)
        self._mine = self._members[way.group.index(links.rank)]
        self._ours = self._groups[way.sources.index(links.rank)]

        def incoming(rows: Floats, ranks: tuple[int, ...]) -> list[tuple[memoryview, int]]:
            return [(as_bytes(row), rank) for row, rank in zip(rows, ranks, strict=True) if rank != links.rank]

        # from the successor first: it sends to this worker last, so the others' messages are there when its own is
        members = sorted(incoming(self._members, way.group), key=lambda one: (one[1] - links.rank) % links.workers)
        self._from_members = [(links.to(channel, rank), row) for row, rank in members]
        self._from_groups = [(links.to(channel, rank), row) for row, rank in incoming(self._groups, way.sources)]
        self._targets = [links.to(channel, rank) for rank in way.targets]

    def begin(self, mine: Floats) -> None:
        """Send them to the group."""
        for link, _ in self._from_members:
            link.flush()
        self._mine[:] = mine
        message = as_bytes(self._mine)
        for link, _ in self._from_members:
            link.send(message)
        self._phases.lap(PUSH)

    def proceed(self, values: Floats) -> None:
        """Pass the group's sum on."""
        for link, row in self._from_members:
            link.receive(row)
        self._phases.lap(PULL)
        for link in self._targets:
            link.flush()
        self._ours[:] = added(self._members)
        message = as_bytes(self._ours)
        for link in self._targets:
            link.send(message)
        self._phases.lap(PUSH)

    def finish(self, values: Floats) -> None:
        """Take the other groups' sums, and make all values new."""
        for link, row in self._from_groups:
            link.receive(row)
        self._phases.lap(PULL)
        self._apply(added(self._groups), self._all)
        self._phases.lap(UPDATE)
