"""What workers exchange between two parts of a split model: forwards what a part made, backwards its gradient.

`rows` are images, by the worker that has them, `columns` a dense layer's outputs, by the worker that computes them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from ..engines.base import Floats
from ..kvstores.allreduce.exchange import added, as_bytes
from ..kvstores.allreduce.links import Links
from ..kvstores.allreduce.shards import peers
from ..reporting.phases import PULL, PUSH
from ..sharding import Shares
from .parts import Columns


class Swap:
    """Every worker hands every other one a block, over one channel."""

    def __init__(self, links: Links, channel: int) -> None:
        self.rank = links.rank
        self.workers = links.workers
        self._phases = links.phases
        self._links = [(rank, links.to(channel, rank)) for rank in peers(links.rank, links.workers)]

    def __call__(self, outgoing: Sequence[Floats], incoming: Sequence[Floats]) -> None:
        """Send and receive; on return the outgoing memory is free again.

        Args:
            outgoing: for each rank (n,) or (n, m) float32, no unit, contiguous; the own one is left out.
            incoming: by rank too, of any shapes, float32, no unit, contiguous: filled, but for the own one.
        """
        for rank, link in self._links:
            link.send(as_bytes(outgoing[rank].reshape(-1)))
        self._phases.lap(PUSH)
        for rank, link in self._links:
            link.receive(as_bytes(incoming[rank].reshape(-1)))
        for _, link in self._links:
            link.flush()
        self._phases.lap(PULL)


class Crossing(ABC):
    """One place in the model where the workers exchange."""

    def __init__(self, swap: Swap, rows: Sequence[slice], columns: Sequence[slice]) -> None:
        self._swap = swap
        self._rows = rows
        self._columns = columns
        self._own = swap.rank

    @abstractmethod
    def forth(self, made: Floats, into: Floats) -> None:
        """Hand over what the part before made.

        Args:
            made: (rows, columns) float32, no unit, as `Plan.forms` says.
            into: (rows, columns) float32, no unit: becomes what the next part takes.
        """

    @abstractmethod
    def back(self, gradient: Floats, into: Floats) -> None:
        """Hand over the gradient of what the next part took.

        Args:
            gradient: (rows, columns) float32, no unit, as `into` of `forth`.
            into: (rows, columns) float32, no unit: becomes the gradient of `made`, of all workers' losses.
        """

    def _cut(self, whole: Floats) -> list[Floats]:
        """The columns of each worker, as blocks of their own."""
        return [np.ascontiguousarray(whole[:, columns]) for columns in self._columns]

    def _blocks(self, rows: int) -> list[Floats]:
        """Memory for so many rows of each worker's columns."""
        return [np.empty((rows, columns.stop - columns.start), np.float32) for columns in self._columns]

    def _put_together(self, blocks: Sequence[Floats], mine: Floats, into: Floats) -> None:
        """Columns beside columns, the own ones from `mine`."""
        for rank, (columns, block) in enumerate(zip(self._columns, blocks, strict=True)):
            into[:, columns] = mine if rank == self._own else block

    def _add(self, outgoing: Sequence[Floats], into: Floats) -> None:
        """Sum what all workers have for this one, in the order of their ranks."""
        parts = np.empty((self._swap.workers, into.size), np.float32)
        self._swap(outgoing, list(parts))
        parts[self._own] = outgoing[self._own].reshape(-1)
        into[:] = added(parts).reshape(into.shape)


class ImagesGathered(Crossing):
    """Into a split layer: everybody gets all workers' images."""

    def forth(self, made: Floats, into: Floats) -> None:
        """The own rows to everybody."""
        into[self._rows[self._own]] = made
        self._swap([made] * self._swap.workers, [into[rows] for rows in self._rows])

    def back(self, gradient: Floats, into: Floats) -> None:
        """Rows to those that have the images, and added up."""
        self._add([gradient[rows] for rows in self._rows], into)


class SlicesGathered(Crossing):
    """From one split layer to the next: everybody gets all outputs of all images."""

    def forth(self, made: Floats, into: Floats) -> None:
        """The own columns to everybody."""
        blocks = self._blocks(len(made))
        self._swap([made] * self._swap.workers, blocks)
        self._put_together(blocks, made, into)

    def back(self, gradient: Floats, into: Floats) -> None:
        """Columns to those that compute them, and added up."""
        self._add(self._cut(gradient), into)


class SlicesScattered(Crossing):
    """Out of a split layer: everybody gets all outputs of the own images."""

    def forth(self, made: Floats, into: Floats) -> None:
        """Rows of the own columns to those that have the images."""
        blocks = self._blocks(len(into))
        self._swap([made[rows] for rows in self._rows], blocks)
        self._put_together(blocks, made[self._rows[self._own]], into)

    def back(self, gradient: Floats, into: Floats) -> None:
        """Columns of the own rows to those that compute them."""
        cut = self._cut(gradient)
        into[self._rows[self._own]] = cut[self._own]
        self._swap(cut, [into[rows] for rows in self._rows])


def crossing(before: Columns | None, after: Columns | None, swap: Swap, shares: Shares) -> Crossing:
    """What is to be exchanged between two parts with these slices, of which at least one is there.

    `shares` is how the workers that exchange share their images.
    """
    rows = [slice(sum(shares.sizes[:rank]), sum(shares.sizes[: rank + 1])) for rank in range(swap.workers)]
    kind = ImagesGathered if before is None else SlicesScattered if after is None else SlicesGathered
    return kind(swap, rows, before.columns(swap.workers) if before else [])
