from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training import sharding
from training.errors import ProgramError
from training.sharding import Shares

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 20), st.integers(1, 11)).filter(lambda s: s[0] >= s[1] * s[2])
UNEVEN = st.lists(st.integers(1, 40), min_size=1, max_size=11).map(tuple)


def shards(images: int, sizes: tuple[int, ...], epoch: int = 1, seed: int = 0) -> list[sharding.Indices]:
    return [sharding.epoch_shard(images, Shares(sizes, place), seed=seed, epoch=epoch) for place in range(len(sizes))]


@given(SIZES)
def test_every_worker_has_as_many_batches_and_no_image_comes_twice(sizes: tuple[int, int, int]) -> None:
    images, batch, workers = sizes
    parts = shards(images, (batch,) * workers)
    assert {part.shape for part in parts} == {(sharding.steps_per_epoch(*sizes), batch)}
    seen = np.concatenate([part.ravel() for part in parts])
    assert len(np.unique(seen)) == len(seen) > images - batch * workers
    assert set(seen) <= set(range(images))


@given(UNEVEN, st.integers(0, 300))
def test_global_batches_do_not_depend_on_how_they_are_shared(sizes: tuple[int, ...], more: int) -> None:
    images = sum(sizes) + more
    parts = shards(images, sizes)
    assert [part.shape[1] for part in parts] == list(sizes)
    (alone,) = shards(images, (sum(sizes),))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), alone)


def test_epochs_and_seeds_shuffle_differently_and_repeatably() -> None:
    orders = [shards(100, (10,), epoch, seed)[0].tolist() for epoch, seed in [(1, 0), (2, 0), (1, 1)]]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert orders[0] == shards(100, (10,), 1, 0)[0].tolist()


def test_the_shuffle_is_the_same_with_every_numpy() -> None:
    """Pinned: 60,000 images, seed 0, epoch 1; a change would make old and new results incomparable."""
    assert shards(60_000, (64,) * 11)[3][0, :4].tolist() == [31886, 1133, 16402, 25602]


def test_remainders_differ_between_epochs() -> None:
    left_out = [set(range(23)) - set(np.concatenate(shards(23, (5, 5), epoch)).ravel().tolist()) for epoch in (1, 2, 3)]
    assert {len(left) for left in left_out} == {3}
    assert left_out[0] != left_out[1] or left_out[1] != left_out[2]


def test_an_epoch_may_be_cut_to_so_many_steps() -> None:
    assert sharding.steps_per_epoch(1000, 10, 2) == 50
    assert sharding.steps_per_epoch(1000, 10, 2, most=7) == 7
    assert sharding.steps_per_epoch(1000, 10, 2, most=700) == 50


def test_too_few_images_for_one_batch_each_are_an_error() -> None:
    with pytest.raises(ProgramError, match="127 training images do not fill one batch of 64 on each of 2 workers"):
        sharding.steps_per_epoch(127, 64, 2)


@given(st.integers(0, 1000), UNEVEN)
def test_validation_ranges_tile_the_set_as_batches_are_shared(images: int, sizes: tuple[int, ...]) -> None:
    ranges = [sharding.validation_range(images, Shares(sizes, place)) for place in range(len(sizes))]
    assert [index for first, end in ranges for index in range(first, end)] == list(range(images))
    for (first, end), size in zip(ranges, sizes, strict=True):
        assert abs(end - first - images * size / sum(sizes)) < 1


def test_without_a_word_all_batches_are_even_and_the_stores_rank_is_the_place() -> None:
    assert sharding.shares({}, 32, 3, rank=2) == Shares((32, 32, 32), 2)


def test_the_place_is_the_launch_order_whatever_the_store_says() -> None:
    environment = {"HARNESS_BATCH_SIZES": "20,44", "HARNESS_RANK": "1"}
    mine = sharding.shares(environment, 32, 2, rank=0)
    assert (mine.own, mine.before, mine.total) == (44, 20, 64)


@pytest.mark.parametrize("sizes", ["64", "20,43", "0,64", "-1,65", "20,44,0", "20,,44", "20;44", "a,b", "64,"])
def test_batches_that_do_not_share_the_global_one_are_an_error(sizes: str) -> None:
    with pytest.raises(ProgramError, match="does not share 64 images among 2 workers"):
        sharding.batch_sizes({"HARNESS_BATCH_SIZES": sizes, "HARNESS_RANK": "0"}, 32, 2)


def test_uneven_batches_need_to_know_the_launch_order() -> None:
    with pytest.raises(ProgramError, match="HARNESS_RANK is not"):
        sharding.batch_sizes({"HARNESS_BATCH_SIZES": "20,44"}, 32, 2)
