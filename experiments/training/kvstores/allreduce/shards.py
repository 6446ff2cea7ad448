"""Who owns what: arithmetic of even shards. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


def bounds(size: int, workers: int) -> list[int]:
    """Limits of `workers` shards of `size` elements: shard r is [answer[r], answer[r + 1]).

    Shards differ by one element at most, whatever the layers of the model are; with more workers than elements some are
    empty.
    """
    return [worker * size // workers for worker in range(workers + 1)]


def peers(rank: int, workers: int) -> list[int]:
    """The other workers in the order in which this one sends to them: its successors first.

    Everybody starts with another receiver, so no receiver is hit by all at once.
    """
    return [(rank + distance) % workers for distance in range(1, workers)]


@dataclass(frozen=True)
class Route:
    """A worker's way of a sum over groups of workers; ranks."""

    group: tuple[int, ...]
    """Its own group, itself included: they tell each other all their numbers."""
    targets: tuple[int, ...]
    """Workers of other groups that it tells its group's sum."""
    sources: tuple[int, ...]
    """Who tells it each group's sum, by group; of its own itself."""


def route(rank: int, workers: int) -> Route:
    """Groups of neighbours, so many that a worker receives the fewest messages: about 2 (sqrt(n) - 1) instead of n - 1.

    A group's members share the telling: it takes turns by receiver, beginning with another member for every group, so
    nobody has much more to tell than the others.
    """
    count = min(range(1, workers + 1), key=lambda groups: -(-workers // groups) + groups)
    groups = [range(first, end) for first, end in pairwise(bounds(workers, count))]

    def sources(receiver: int) -> tuple[int, ...]:
        number = next(number for number, group in enumerate(groups) if receiver in group)
        place = groups[number].index(receiver)
        told = ((group, group[(place + number) % len(group)]) for group in groups)
        return tuple(receiver if receiver in group else teller for group, teller in told)

    mine = next(group for group in groups if rank in group)
    targets = tuple(other for other in range(workers) if other not in mine and rank in sources(other))
    return Route(tuple(mine), targets, sources(rank))


def split(sizes: Sequence[int]) -> list[int]:
    """How many consecutive arrays go into each buffer: what lies before the largest array, and the rest.

    In a convolutional network the largest array is the first dense layer's: the rest holds nearly all the bytes, its
    gradients are ready first in backward and its values are needed last in forward, so its exchange hides behind the
    convolutions. One buffer where the first array is the largest.
    """
    first = max(range(len(sizes)), key=lambda number: sizes[number])
    return [first, len(sizes) - first] if first else [len(sizes)]
