"""Sums of the allreduce store that are applied to values, over real sockets on loopback; no MXNet in it."""

from __future__ import annotations

import time

import allreduce_job
import numpy as np
import pytest
from training.kvstores.allreduce.exchange import Exchange
from training.kvstores.allreduce.links import Links
from training.kvstores.allreduce.sums import SMALL_BYTES, Floats, GroupedSum, ShardedSum, Sum, sum_over

STEPS = 4


def gradients(rank: int, size: int, step: int) -> Floats:
    return np.random.RandomState(1000 * step + rank).standard_normal(size).astype(np.float32)


def descend(kind: type[Sum], links: Links, size: int) -> Floats:
    """Values after some steps against the sum of all workers' gradients; the buffer of these is used again, as MXNet does."""
    values, mine = np.ones(size, np.float32), np.empty(size, np.float32)

    def apply(part: Floats, total: Floats) -> None:
        total *= np.float32(0.125)
        part -= total

    one = kind(links, 0, size, apply)
    for step in range(STEPS):
        mine[:] = gradients(links.rank, size, step)
        one.begin(mine)
        one.proceed(values)
        one.finish(values)
    return values


@pytest.mark.parametrize("kind", [ShardedSum, GroupedSum])
@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7, 11])
@pytest.mark.parametrize("size", [0, 5, 2572])
def test_all_workers_end_with_the_same_bits_of_the_right_values(kind: type[Sum], workers: int, size: int) -> None:
    def work(links: Links) -> Floats:
        return descend(kind, links, size)

    found = allreduce_job.together(work, allreduce_job.seats(workers))
    summed = sum(gradients(rank, size, step).astype(np.float64) for rank in range(workers) for step in range(STEPS))
    np.testing.assert_allclose(found[0], 1 - 0.125 * summed, atol=1e-5)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_what_is_still_being_sent_is_not_overwritten() -> None:
    """12 MB are more than the kernel takes for a worker that reads late; the next step is begun before it does."""
    size = 3_000_000

    def work(links: Links) -> Floats:
        total = np.zeros(size, np.float32)
        one = GroupedSum(links, 0, size, lambda values, summed: np.add(values, summed, out=values))
        for step in range(3):
            one.begin(np.full(size, 10.0**step, np.float32))
            if links.rank == 1:
                time.sleep(0.3)
            one.proceed(total)
            one.finish(total)
        Exchange(links, 0, 2, np.float32).sum(np.zeros(2, np.float32))  # nobody leaves while another still reads
        return total

    for found in allreduce_job.together(work, allreduce_job.seats(2)):
        assert (found == 2 * 111).all()


def test_small_buffers_travel_whole_and_large_ones_in_shards() -> None:
    def work(links: Links) -> list[Sum]:
        return [sum_over(links, 0, size, np.copyto) for size in (SMALL_BYTES // 4, SMALL_BYTES // 4 + 1)]

    for small, large in allreduce_job.together(work, allreduce_job.seats(2)):
        assert isinstance(small, GroupedSum)
        assert isinstance(large, ShardedSum)


def test_one_worker_applies_its_own_numbers_without_a_copy() -> None:
    mine, values = np.full(5, 3, np.float32), np.ones(5, np.float32)

    def work(links: Links) -> None:
        def apply(values: Floats, total: Floats) -> None:
            assert total is mine
            values += total

        alone = sum_over(links, 0, 5, apply)
        for _ in range(2):
            alone.begin(mine)
            alone.proceed(values)
            alone.finish(values)

    allreduce_job.together(work, allreduce_job.seats(1))
    np.testing.assert_array_equal(values, np.full(5, 7))
