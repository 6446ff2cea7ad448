"""Which worker sees which image when. Pure, and a function of its arguments alone.

Global batch t of an epoch is the t-th run of `batch_size * workers` images of the epoch's shuffle, and the workers have one
part of it each, in launch order: even parts, or of whatever sizes they are given (so that a slow node has less to do). So
k workers with batch b walk the same global batches as one worker with batch k * b, every worker has the same number of
batches (a synchronous store hangs otherwise), and no image is seen twice in an epoch. The remainder, fewer images than a
global batch has and others in every epoch, sits out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt
from contract import wire

from .errors import ProgramError

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shares:
    """How the workers share every global batch: each one's images, in launch order, and which of them this worker is."""

    sizes: tuple[int, ...]
    place: int

    @property
    def own(self) -> int:
        """Images of this worker's batch."""
        return self.sizes[self.place]

    @property
    def before(self) -> int:
        """Images of the workers before this one."""
        return sum(self.sizes[: self.place])

    @property
    def total(self) -> int:
        """Images of the global batch."""
        return sum(self.sizes)


@dataclass(frozen=True)
class Groups:
    """Workers of which `size` consecutive ones compute one model together, each at a place of its own; `count` such groups."""

    size: int
    count: int

    def place(self, rank: int) -> int:
        """A worker's place in its group."""
        return rank % self.size

    def number(self, rank: int) -> int:
        """A worker's group."""
        return rank // self.size

    def members(self, rank: int) -> list[int]:
        """The workers of a worker's group, by place."""
        first = rank - self.place(rank)
        return list(range(first, first + self.size))

    def peers(self, rank: int) -> list[int]:
        """The workers at a worker's place, by group."""
        return list(range(self.place(rank), self.size * self.count, self.size))

    def within(self, shares: Shares) -> Shares:
        """How a worker's group shares its part of a batch that all workers share so."""
        members = self.members(shares.place)
        return Shares(tuple(shares.sizes[rank] for rank in members), self.place(shares.place))

    def among(self, shares: Shares) -> Shares:
        """How the groups share such a batch: each has the images of all its workers."""
        limits = (0, *accumulate(shares.sizes))
        sizes = tuple(end - first for first, end in pairwise(limits[:: self.size]))
        return Shares(sizes, self.number(shares.place))


def grouped(workers: int, size: int, most: int, option: str, too_many: str) -> Groups:
    """So many workers in groups of `size`, which `option` asks for.

    Raises ProgramError where that does not divide the workers, or is more than the `most` that a model has work for: this is
    `too_many`.
    """
    possible = [number for number in range(2, min(workers, most) + 1) if workers % number == 0]
    nearest = min(possible, key=lambda number: abs(number - size), default=None)
    sizes = "2" if most == 2 else f"2 to {most}"
    way = f"use --{option} {nearest}" if nearest else f"use a multiple of {sizes} workers"
    remedy = f"{way}, or --strategy data"
    if size > most:
        raise ProgramError(too_many, remedy)
    if workers % size:
        raise ProgramError(f"{workers} workers cannot be shared out evenly among {size} {option}", remedy)
    return Groups(size, workers // size)


def batch_sizes(environment: Mapping[str, str], batch_size: int, workers: int) -> tuple[int, ...]:
    """Every worker's images of a step, in launch order: what `HARNESS_BATCH_SIZES` says, or `batch_size` for all.

    Raises ProgramError where it says anything but a batch for each worker, `batch_size * workers` images together.
    """
    text = environment.get(wire.BATCH_SIZES)
    if not text:
        return (batch_size,) * workers
    words = text.split(",")
    sizes = tuple(int(word) for word in words if word.isascii() and word.isdigit() and int(word) > 0)
    if not len(words) == len(sizes) == workers or sum(sizes) != batch_size * workers:
        raise ProgramError(
            f"{wire.BATCH_SIZES}={text} does not share {batch_size * workers} images among {workers} workers",
            "name a batch for each worker, in launch order, that add up to the batch size times the workers",
        )
    if workers > 1 and wire.RANK not in environment:
        raise ProgramError(
            f"{wire.BATCH_SIZES} is set, {wire.RANK} is not", "start the program through `harness sweep`"
        )
    return sizes


def shares(environment: Mapping[str, str], batch_size: int, workers: int, rank: int) -> Shares:
    """This worker's part in every global batch. Its place is its number in launch order, or `rank` where it has none.

    The store's `rank` alone will not do: ps-lite numbers workers as it likes, and a batch is meant for one node.
    """
    return Shares(batch_sizes(environment, batch_size, workers), int(environment.get(wire.RANK, rank)))


def steps_per_epoch(images: int, batch_size: int, workers: int, most: int | None = None) -> int:
    """Batches of every worker, `most` at most where it is given. Raises ProgramError where there is not one."""
    steps = images // (batch_size * workers)
    if not steps:
        raise ProgramError(
            f"{images} training images do not fill one batch of {batch_size} on each of {workers} workers",
            "take a smaller batch size, fewer nodes or more images",
        )
    return steps if most is None else min(steps, most)


def epoch_shard(images: int, shares: Shares, *, seed: int, epoch: int) -> Indices:
    """The images of one worker in one epoch.

    Args:
        images: how many there are.
        shares: how the workers share a batch.
        seed: of the run.
        epoch: from 1.

    Returns:
        (steps, batch) int64: indices of images.
    """
    steps = images // shares.total
    # RandomState's stream is frozen: the same shuffle with every NumPy, where Generator's may change
    order = np.random.RandomState([seed, epoch]).permutation(images)
    return order[: steps * shares.total].reshape(steps, shares.total)[:, shares.before : shares.before + shares.own]


def validation_range(images: int, shares: Shares) -> tuple[int, int]:
    """First and last-but-one index of a worker's part of the validation images, as large as its part of a global batch."""
    return images * shares.before // shares.total, images * (shares.before + shares.own) // shares.total


def epoch_seed(shares: Shares, *, seed: int, epoch: int) -> int:
    """What a worker's engine is seeded with in an epoch, 0 to 2**31 - 1: a worker's own, the same in every run."""
    return int(np.random.RandomState([seed, epoch, shares.place]).randint(2**31 - 1))
