"""Ways to add up one flat float32 buffer over all workers and to make something of the sum, in the same order of ranks.

Each costs one message to and from some workers in each of two turns. `ShardedSum` moves the fewest bytes, in messages to
everybody; `RoundedSum` moves half of them; `GroupedSum` sends whole buffers in the fewest messages. Each message costs a node
processor time at both ends, however short it is, so a small buffer is better sent whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ...reporting.phases import PULL, PUSH, UPDATE
from ..registration import BFLOAT16, FLOAT32
from . import bfloat16
from .exchange import Exchange, added, as_bytes
from .links import Link, Links
from .shards import route

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
        """Send this worker's numbers.

        Args:
            mine: (size,) float32, no unit; they stay untouched until `finish` has returned, and may be used as scratch.
        """

    @abstractmethod
    def proceed(self, values: Floats) -> None:
        """Take the others' numbers and pass on what came of them.

        Args:
            values: (size,) float32, no unit; may be new in part.
        """

    @abstractmethod
    def finish(self, values: Floats) -> None:
        """Wait for the rest.

        Args:
            values: (size,) float32, no unit; new, with the same bits on all workers.
        """


def sum_over(links: Links, channel: int, size: int, apply: Apply, wire: str = FLOAT32) -> Sum:
    """The cheapest one for a buffer of so many elements whose numbers travel as `wire`."""
    if wire == BFLOAT16:
        return RoundedSum(links, channel, size, apply)
    if links.workers == 1:
        return OwnSum(links, apply)
    kind = GroupedSum if size * np.dtype(np.float32).itemsize <= SMALL_BYTES else ShardedSum
    return kind(links, channel, size, apply)


class OwnSum(Sum):
    """Of one worker: its own numbers, in the place where they are."""

    def __init__(self, links: Links, apply: Apply) -> None:
        self._phases = links.phases
        self._apply = apply

    def begin(self, mine: Floats) -> None:
        """Remember where they are."""
        self._mine = mine

    def proceed(self, values: Floats) -> None:
        """Make all values new."""
        self._apply(values, self._mine)
        self._phases.lap(UPDATE)

    def finish(self, values: Floats) -> None:
        """They are."""


class ShardedSum(Sum):
    """Every worker adds up and applies its own shard, and sends the new values to everybody."""

    def __init__(self, links: Links, channel: int, size: int, apply: Apply) -> None:
        self._phases = links.phases
        self._apply = apply
        self._exchange = Exchange(links, channel, size, np.float32)

    def begin(self, mine: Floats) -> None:
        """Send everybody their shard."""
        self._exchange.begin_reduce_scatter(mine)

    def proceed(self, values: Floats) -> None:
        """Make the own shard new and send it."""
        self._apply(values[self._exchange.own], added(self._exchange.end_reduce_scatter()))
        self._phases.lap(UPDATE)
        self._exchange.begin_all_gather(values)

    def finish(self, values: Floats) -> None:
        """Take the others' shards."""
        self._exchange.end_all_gather(values)


class RoundedSum(Sum):
    """As `ShardedSum`, but numbers and their sums travel as bfloat16: half the bytes, 8 bits of precision, float32's range.

    They are added up in float32, and everybody applies the rounded sum to all values. (IEEE's float16 would keep 11 bits, but
    NumPy converts it element by element: measured at 5 ms of processor time a step for LeNet-5, more than the bytes cost.)
    """

    def __init__(self, links: Links, channel: int, size: int, apply: Apply) -> None:
        self._phases = links.phases
        self._apply = apply
        self._exchange = Exchange(links, channel, size, np.uint16)
        self._wire = np.zeros(size, np.uint16)

    def begin(self, mine: Floats) -> None:
        """Send everybody their shard."""
        bfloat16.encode(mine, self._wire)
        self._exchange.begin_reduce_scatter(self._wire)

    def proceed(self, values: Floats) -> None:
        """Add up the own shard and send it."""
        total = added(bfloat16.decode(self._exchange.end_reduce_scatter()))
        bfloat16.encode(total, self._wire[self._exchange.own])
        self._phases.lap(UPDATE)
        self._exchange.begin_all_gather(self._wire)

    def finish(self, values: Floats) -> None:
        """Take the others' shards, and make all values new."""
        self._exchange.end_all_gather(self._wire)
        self._apply(values, bfloat16.decode(self._wire))
        self._phases.lap(UPDATE)


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
