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
from .collective_links import Link, Links
from .collective_shards import route

Floats = npt.NDArray[np.float32]
Apply = Callable[[Floats, Floats], None]
"""Makes values new from the sum over the workers, of the same length, which may be used as scratch."""

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
        self._apply(values[self._exchange.own], added(self._exchange.collect()))
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
        way = route(links.rank, links.workers)
        self._members: Floats = np.zeros((len(way.group), size), np.float32)
        self._groups: Floats = np.zeros((len(way.sources), size), np.float32)
        self._mine = self._members[way.group.index(links.rank)]
        self._ours = self._groups[way.sources.index(links.rank)]

        def incoming(rows: Floats, ranks: tuple[int, ...]) -> list[tuple[Link, memoryview]]:
            # from the successor first: it sends to this worker last, so the others' messages are there when its own is
            order = sorted(range(len(ranks)), key=lambda at: (ranks[at] - links.rank) % links.workers)
            return [(links.to(channel, ranks[at]), as_bytes(rows[at])) for at in order if ranks[at] != links.rank]

        self._from_group = incoming(self._members, way.group)
        self._from_groups = incoming(self._groups, way.sources)
        self._group = [link for link, _ in self._from_group]
        self._targets = [links.to(channel, rank) for rank in way.targets]

    def begin(self, mine: Floats) -> None:
        """Send them to the group."""
        self._tell(self._group, self._mine, mine)

    def proceed(self, values: Floats) -> None:
        """Pass the group's sum on."""
        self._hear(self._from_group)
        self._tell(self._targets, self._ours, added(self._members))

    def finish(self, values: Floats) -> None:
        """Take the other groups' sums, and make all values new."""
        self._hear(self._from_groups)
        self._apply(values, added(self._groups))
        self._phases.lap(UPDATE)

    def _tell(self, links: list[Link], row: Floats, numbers: Floats) -> None:
        for link in links:
            link.flush()  # what is left of the last message is read from the row
        row[:] = numbers
        message = as_bytes(row)
        for link in links:
            link.send(message)
        self._phases.lap(PUSH)

    def _hear(self, incoming: list[tuple[Link, memoryview]]) -> None:
        for link, row in incoming:
            link.receive(row)
        self._phases.lap(PULL)
