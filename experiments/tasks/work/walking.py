"""Random walks: what a worker computes."""

from __future__ import annotations

import time

import numpy as np

from ..batches.spread import Part


def load() -> None:
    """There are no data."""


def ends(steps: int, seed: int, first: int, count: int) -> list[float]:
    """Where walks `first` to `first + count - 1` end, each of so many steps of -1 or +1, by a generator of its own."""
    return [
        float(2 * np.random.default_rng([seed, number]).integers(0, 2, steps).sum() - steps)
        for number in range(first, first + count)
    ]


def walk(steps: int, seed: int, first: int, count: int) -> Part:
    """As `ends`, and what it took."""
    began = time.perf_counter()
    return Part(ends(steps, seed, first, count), (time.perf_counter() - began) / count, 8 * count)
