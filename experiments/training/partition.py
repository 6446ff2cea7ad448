"""Which images a worker has at all, where that is not a new share of everything in every epoch. Pure.

What federated learning meets: data stay where they came to be, and no two places see the same. Every worker has a part of the
training images as large as its part of a batch, no image belongs to two, and which ones is a function of the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .errors import ProgramError
from .sharding import Indices, Shares, epoch_shard

SHUFFLED, FIXED, BY_LABEL, DIRICHLET = "shuffled", "fixed", "by_label", "dirichlet"
SHARDS = (SHUFFLED, FIXED, BY_LABEL, DIRICHLET)
"""Values of `--shards`."""

_STREAM = 4242  # beside the seed: epochs' shuffles have their numbers from 1 there

Labels = npt.NDArray[np.uint8]


class Partition:
    """Every worker's images, and their order in an epoch."""

    def __init__(
        self, kind: str, labels: Labels, shares: Shares, *, seed: int, pieces: int = 2, concentration: float = 0.5
    ) -> None:
        """Say who has which images.

        Args:
            kind: `shuffled`: each epoch's shuffle is shared anew. `fixed`: one shuffle for the run. `by_label`: `pieces`
            pieces of the
                images in the order of their labels (McMahan et al. 2017, who gave each worker two). `dirichlet`: every
                worker has a mixture of classes of its own, drawn with this `concentration` (Hsu, Qi and Brown 2019): the
                smaller, the fewer classes.
            labels: (n,) uint8, numbers of classes, no unit.
            shares: how the workers share a batch.
            seed: of the run.
            pieces: of a worker.
            concentration: above 0.

        Raises:
            ProgramError: there are not enough images for so many pieces.
        """
        self._shares = shares
        self._seed = seed
        self._images = len(labels)
        self._own: Indices | None = None
        if kind != SHUFFLED:
            random = np.random.RandomState([seed, _STREAM])
            sizes = [len(labels) * size // shares.total for size in shares.sizes]
            parts = {
                FIXED: lambda: _fixed(labels, sizes, random),
                BY_LABEL: lambda: _by_label(labels, sizes, random, pieces),
                DIRICHLET: lambda: _dirichlet(labels, sizes, random, concentration),
            }[kind]()
            self._own = parts[shares.place]

    @property
    def own(self) -> Indices | None:
        """This worker's images; None where it sees all of them in time.

        Returns:
            (n,) int64: indices of images.
        """
        return self._own

    def epoch(self, epoch: int) -> Indices:
        """The images of this worker in one epoch, in an order of its own.

        Args:
            epoch: from 1.

        Returns:
            (steps, batch) int64: indices of images.
        """
        if self._own is None:
            return epoch_shard(self._images, self._shares, seed=self._seed, epoch=epoch)
        steps = self._images // self._shares.total
        random = np.random.RandomState([self._seed, epoch, 1 + self._shares.place])
        wanted = steps * self._shares.own
        rounds = -(-wanted // len(self._own))  # more than one only where rounding left the part an image short
        order = np.concatenate([random.permutation(self._own) for _ in range(rounds)])
        return order[:wanted].reshape(steps, self._shares.own)


def _fixed(labels: Labels, sizes: Sequence[int], random: np.random.RandomState) -> list[Indices]:
    return _cut(random.permutation(len(labels)), sizes)


def _by_label(labels: Labels, sizes: Sequence[int], random: np.random.RandomState, pieces: int) -> list[Indices]:
    """All pieces of a worker are equally long, up to an image; where batches are even, so are all workers'."""
    if min(sizes) < pieces:
        raise ProgramError(
            f"a worker has {min(sizes)} images, which make no {pieces} pieces", "take fewer pieces, or more images"
        )
    order = np.argsort(labels, kind="stable")
    owners = random.permutation(np.repeat(np.arange(len(sizes)), pieces))
    lengths, seen = [], [0] * len(sizes)
    for owner in owners:
        size, number = sizes[owner], seen[owner]
        lengths.append(size * (number + 1) // pieces - size * number // pieces)
        seen[owner] += 1
    cut = _cut(order, lengths)
    return [
        np.concatenate([piece for piece, owner in zip(cut, owners, strict=True) if owner == worker])
        for worker in range(len(sizes))
    ]


def _dirichlet(
    labels: Labels, sizes: Sequence[int], random: np.random.RandomState, concentration: float
) -> list[Indices]:
    """One worker after the other draws its mixture, and takes from each class what it still has."""
    classes = int(labels.max()) + 1
    left = [list(random.permutation(np.flatnonzero(labels == label))) for label in range(classes)]
    parts = []
    for size in sizes:
        mixture = random.dirichlet(np.full(classes, concentration))
        mine: list[int] = []
        while len(mine) < size:
            there = np.array([bool(each) for each in left])
            weights = np.where(there, mixture + 1e-12, 0)  # a class that nobody wants is taken at last
            for label, count in enumerate(random.multinomial(size - len(mine), weights / weights.sum())):
                mine += left[label][:count]
                del left[label][:count]
        parts.append(np.array(mine, np.int64))
    return parts


def _cut(order: Indices, lengths: Sequence[int]) -> list[Indices]:
    """The beginning of an order, cut into pieces of these lengths."""
    limits = np.concatenate([[0], np.cumsum(lengths)])
    return [order[first:end] for first, end in pairwise(limits)]
