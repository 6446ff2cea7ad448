from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from training.kvstores.allreduce.shards import bounds, peers, route, split

SIZES = st.integers(0, 100_000)
WORKERS = st.integers(1, 64)


@given(SIZES, WORKERS)
def test_shards_cover_everything_once_and_are_even(size: int, workers: int) -> None:
    limits = bounds(size, workers)
    widths = [end - start for start, end in pairwise(limits)]
    assert limits[0] == 0
    assert limits[-1] == size
    assert len(widths) == workers
    assert 0 <= min(widths) <= max(widths) <= min(widths) + 1


@given(WORKERS)
def test_everybody_sends_to_another_receiver_at_any_time(workers: int) -> None:
    orders = [peers(rank, workers) for rank in range(workers)]
    assert all(sorted([rank, *order]) == list(range(workers)) for rank, order in enumerate(orders))
    assert all(len(set(receivers)) == workers for receivers in zip(*orders, strict=True))


@given(WORKERS)
def test_the_first_receiver_is_the_one_whose_own_messages_come_last(workers: int) -> None:
    for rank in range(workers):
        for first in peers(rank, workers)[:1]:
            assert peers(first, workers)[-1] == rank


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=20))
def test_the_second_buffer_begins_with_the_largest_array(sizes: list[int]) -> None:
    buckets = split(sizes)
    assert sum(buckets) == len(sizes)
    assert min(buckets) > 0
    assert sizes[sum(buckets[:-1])] == max(sizes)


def test_lenets_are_cut_between_convolutions_and_dense_layers() -> None:
    assert split([150, 6, 2400, 16, 48000, 120, 10080, 84, 840, 10]) == [4, 6]
    assert split([500, 20, 25000, 50, 400000, 500, 5000, 10]) == [4, 4]


@given(WORKERS)
def test_every_worker_hears_the_sum_of_every_group_once(workers: int) -> None:
    ways = [route(rank, workers) for rank in range(workers)]
    for rank, way in enumerate(ways):
        assert rank in way.group
        groups = [ways[source].group for source in way.sources]
        assert sorted(member for group in groups for member in group) == list(range(workers))
        assert way.sources[groups.index(way.group)] == rank
        assert all(rank in ways[source].targets for source in way.sources if source != rank)
    told = sum(len(way.targets) for way in ways)
    assert told == sum(len(way.sources) - 1 for way in ways)


@given(WORKERS)
def test_groups_spare_messages_and_nobody_has_many_more_than_the_others(workers: int) -> None:
    for rank in range(workers):
        way = route(rank, workers)
        received = len(way.group) + len(way.sources) - 2
        assert received <= min(workers - 1, 2 * workers**0.5)
        assert len(way.group) - 1 + len(way.targets) <= received + 2


def test_eleven_workers_are_three_groups() -> None:
    assert [route(rank, 11).group for rank in (0, 3, 7)] == [(0, 1, 2), (3, 4, 5, 6), (7, 8, 9, 10)]
    assert route(0, 11).sources == (0, 3, 7)
    assert route(6, 11).sources == (1, 6, 7)
    assert route(10, 11).sources == (2, 4, 10)
    assert max(len(route(rank, 11).group) + len(route(rank, 11).targets) - 1 for rank in range(11)) == 5
