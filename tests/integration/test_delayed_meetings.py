"""Meetings that are under way while workers go on, over real sockets on loopback; no MXNet in it."""

from __future__ import annotations

from typing import Any

import allreduce_job
import numpy as np
import pytest
from training.kvstores.allreduce.links import Links
from training.kvstores.allreduce.part import Part, Step
from training.rules import RULES
from training.sharding import Shares

WORKERS, STEPS, RATE, IMAGES = 3, 24, 0.05, 4
SMALL, LARGE = 6, 30_000  # values that travel whole, and in shards
Array = np.ndarray[Any, np.dtype[Any]]


class Values:
    """An engine's memory that is always at rest."""

    def __init__(self, values: Array) -> None:
        self.array = values

    def settled(self) -> Array:
        return self.array

    idle = written = settled


def gradient(worker: int, step: int, values: Array) -> Array:
    """Of a quadratic loss whose minimum moves."""
    return np.asarray(values - np.random.RandomState(100 * worker + step).standard_normal(values.size))


def trained(rule: str, size: int, every: int, delay: int, **options: Any) -> list[tuple[Array, Array]]:
    """Each worker's shared and own values after all steps; the last meeting may be under way, and is ended then."""

    def work(links: Links) -> tuple[Array, Array]:
        values, gradients = Values(np.ones(size, np.float32)), Values(np.zeros(size, np.float32))
        shares = Shares((IMAGES,) * WORKERS, links.rank)
        part = Part(
            values, gradients, RULES[rule](shares, size, **options), links, 0, "float32", size, apart=True
        )  # fmt: skip
        for step in range(STEPS):
            part.begin()
            part.arrive()
            gradients.array[:] = IMAGES * gradient(links.rank, step, values.array)
            now = Step(RATE, meets=(step + 1) % every == 0, delay=delay)
            part.depart(now)
            part.update()
        part.settle()
        return part.centre.idle().copy(), values.array.copy()

    return allreduce_job.together(work, allreduce_job.seats(WORKERS))


def expected(size: int, every: int, delay: int, momentum: float) -> tuple[Array, Array]:
    """The same in float64, all workers (rows) in one place: the mean of what was offered, and what each changed since."""
    own, shared, velocity = np.ones((WORKERS, size)), np.ones(size), np.zeros(size)
    offered, offered_at = own.copy(), STEPS

    def take() -> None:
        nonlocal own, shared, velocity, offered_at
        velocity = momentum * velocity + shared - offered.mean(axis=0)
        shared = shared - velocity
        own, offered_at = shared + own - offered, STEPS

    for step in range(STEPS):
        if step > offered_at + delay:
            take()
        for worker in range(WORKERS):
            own[worker] -= RATE * gradient(worker, step, own[worker])
        if (step + 1) % every == 0:
            offered, offered_at = own.copy(), step
    if offered_at < STEPS:
        take()
    return shared, own


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(("every", "delay"), [(5, 0), (5, 1), (5, 2), (4, 3), (7, 4), (23, 6)])
def test_what_workers_change_meanwhile_is_kept(size: int, every: int, delay: int) -> None:
    shared, own = expected(size, every, delay, momentum=0.0)
    for worker, found in enumerate(trained("average", size, every, delay)):
        np.testing.assert_allclose(found[0], shared, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[1], own[worker], rtol=1e-4, atol=1e-5)


def test_outer_momentum_is_of_the_shared_values_too() -> None:
    shared, own = expected(LARGE, 5, 2, momentum=0.6)
    found = trained("outer", LARGE, 5, 2, outer_momentum=0.6, outer_rate=1.0, outer_nesterov=False)
    for worker, (theirs, mine) in enumerate(found):
        np.testing.assert_array_equal(theirs, found[0][0])
        np.testing.assert_allclose(theirs, shared, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mine, own[worker], rtol=1e-4, atol=1e-5)
