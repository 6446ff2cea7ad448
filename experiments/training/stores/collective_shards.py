"""Who owns what: arithmetic of even shards. Pure."""

from __future__ import annotations

from collections.abc import Sequence


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


def split(sizes: Sequence[int]) -> list[int]:
    """How many consecutive arrays go into each buffer: what lies before the largest array, and the rest.

    In a convolutional network the largest array is the first dense layer's: the rest holds nearly all the bytes, its
    gradients are ready first in backward and its values are needed last in forward, so its exchange hides behind the
    convolutions. One buffer where the first array is the largest.
    """
    first = max(range(len(sizes)), key=lambda number: sizes[number])
    return [first, len(sizes) - first] if first else [len(sizes)]
