"""The sum of one flat buffer over all workers, in two phases of one message to and from every other worker.

Every worker owns an even shard. Reduce-scatter: it sends each owner that owner's shard of its own values and adds up what it
gets for its own. All-gather: it sends its shard of the result to everybody. 2 (n - 1) / n times the
buffer's bytes leave and reach each worker, which is the least an all-reduce can do, in 2 (n - 1) messages.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import ProgramError
from ...reporting.phases import PULL, PUSH
from .links import Links
from .shards import bounds, peers

Flat = npt.NDArray[Any]


class Exchange:
    """One buffer's exchange over one channel: reduce-scatter, then all-gather, each begun and ended, again and again.

    `size` elements of `dtype`. Between the calls the caller may compute: the kernel moves the bytes meanwhile. Every call
    ends a lap of `links.phases`: sending is push, receiving is pull but for the waiting.
    """

    def __init__(self, links: Links, channel: int, size: int, dtype: npt.DTypeLike) -> None:
        self.rank = rank = links.rank
        self._phases = links.phases
        self._bounds = bounds(size, links.workers)
        self._width = np.dtype(dtype).itemsize
        self.own = slice(self._bounds[rank], self._bounds[rank + 1])
        """This worker's shard."""
        self.shards = [slice(*pair) for pair in pairwise(self._bounds)]
        """Every worker's, by rank."""
        sending = peers(rank, links.workers)
        self._links = [links.to(channel, peer) for peer in sending]
        self._shards = [self._part(peer) for peer in sending]
        self._parts: Flat = np.zeros((links.workers, self.own.stop - self.own.start), dtype)
        self._rows = [as_bytes(self._parts[peer]) for peer in sending]

    def begin_reduce_scatter(self, values: Flat) -> None:
        """Send everybody their shard of this worker's values.

        Args:
            values: (size,) of the exchange's dtype and in any units; they stay untouched until
                `end_all_gather` has returned.
        """
        view = as_bytes(values)
        for link, shard in zip(self._links, self._shards, strict=True):
            link.send(view[shard])
        self._parts[self.rank] = values[self.own]
        self._phases.lap(PUSH)

    def end_reduce_scatter(self) -> Flat:
        """Wait for everybody's values for the own shard.

        Returns:
            (workers, shard) of the exchange's dtype, in the values' units, by rank; until the next
                `begin_reduce_scatter`.
        """
        # the successor sent to this worker last: when its values are here, so are the others', without waiting for each
        for link, row in zip(self._links, self._rows, strict=True):
            link.receive(row)
        self._phases.lap(PULL)
        return self._parts

    def begin_all_gather(self, values: Flat) -> None:
        """Send everybody the own shard.

        Args:
            values: (size,) of the exchange's dtype and in any units; the own shard stays untouched until
                the next `end_reduce_scatter` has returned.
        """
        view = as_bytes(values[self.own])
        for link in self._links:
            link.send(view)
        self._phases.lap(PUSH)

    def end_all_gather(self, values: Flat) -> None:
        """Wait for everybody's shards.

        Args:
            values: (size,) of the exchange's dtype, filled but for the own shard, in the others' units.
        """
        view = as_bytes(values)
        for link, shard in zip(self._links, self._shards, strict=True):
            link.receive(view[shard])
        self._phases.lap(PULL)

    def flush(self) -> None:
        """Wait until all that was sent has been handed to the kernel."""
        for link in self._links:
            link.flush()

    def sum(self, values: Flat) -> Flat:
        """All phases at once.

        Args:
            values: (size,) of the exchange's dtype, in any units.

        Returns:
            (size,) of the same dtype and units: the sum over all workers, the same bits everywhere.
        """
        total = np.empty_like(values)
        self.begin_reduce_scatter(values)
        total[self.own] = added(self.end_reduce_scatter())
        self.begin_all_gather(total)
        self.end_all_gather(total)
        self.flush()
        return total

    def _part(self, rank: int) -> slice:
        """A shard in bytes."""
        return slice(self._bounds[rank] * self._width, self._bounds[rank + 1] * self._width)


def added(rows: Flat) -> Flat:
    """The sum over rows, first to last: one order of rounding, however the numbers lie in memory.

    Args:
        rows: (workers, n) of any dtype, in any units.

    Returns:
        (n,) of the same dtype and units.
    """
    total: Flat = rows[0].copy()
    for row in rows[1:]:
        np.add(total, row, out=total)
    return total


def as_bytes(values: Flat) -> memoryview:
    """The memory of an array, which may be empty.

    Args:
        values: (n,) of any dtype, in any units.
    """
    return values.view(np.uint8).data


def unlike(links: Links, found: bytes) -> list[int]:
    """The workers that found another digest than this one; all ask at the same time."""
    digest: npt.NDArray[np.uint8] = np.frombuffer(found, np.uint8)
    seen = Exchange(links, 0, digest.size * links.workers, np.uint8)
    mine = np.zeros(digest.size * links.workers, np.uint8)
    mine[links.rank * digest.size : (links.rank + 1) * digest.size] = digest
    table = seen.sum(mine).reshape(links.workers, digest.size)
    return [rank for rank in range(links.workers) if (table[rank] != digest).any()]


def agree(links: Links, layout: str) -> None:
    """Raise ProgramError where another worker's model is laid out otherwise: the sums would be of unlike things."""
    others = unlike(links, hashlib.sha256(layout.encode()).digest())
    if others:
        raise ProgramError(
            f"workers {', '.join(map(str, others))} train another model than worker {links.rank}",
            "give all workers of a trial the same program and options",
        )
