"""Which images a worker has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_values import examples
from training import sharding
from training.errors import ProgramError
from training.options.description import described
from training.partition import BY_LABEL, DIRICHLET, FIXED, SHARDS, SHUFFLED, Partition
from training.sharding import Shares

LABELS = np.random.RandomState(0).randint(0, 10, 2000).astype(np.uint8)
SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=11).map(tuple)


def parts(kind: str, sizes: tuple[int, ...] = (16,) * 5, seed: int = 0, **options: float) -> list[Partition]:
    return [
        Partition(kind, LABELS, Shares(sizes, place), seed=seed, **options)  # type: ignore[arg-type]
        for place in range(len(sizes))
    ]


@settings(max_examples=examples(25))
@given(st.sampled_from([FIXED, BY_LABEL, DIRICHLET]), SIZES, st.integers(0, 5))
def test_parts_are_as_large_as_the_batches_and_share_no_image(kind: str, sizes: tuple[int, ...], seed: int) -> None:
    found = parts(kind, sizes, seed)
    owned = [set(part.own.tolist()) for part in found if part.own is not None]
    assert [len(mine) for mine in owned] == [len(LABELS) * size // sum(sizes) for size in sizes]
    assert len(set().union(*owned)) == sum(map(len, owned))
    for part, mine, size in zip(found, owned, sizes, strict=True):
        order = part.epoch(1)
        assert order.shape == (len(LABELS) // sum(sizes), size)
        assert set(order.ravel().tolist()) <= mine


def test_shuffled_is_the_share_of_every_epochs_shuffle() -> None:
    (part, *_) = parts(SHUFFLED)
    assert part.own is None
    expected = sharding.epoch_shard(len(LABELS), Shares((16,) * 5, 0), seed=0, epoch=2)
    np.testing.assert_array_equal(part.epoch(2), expected)


@pytest.mark.parametrize("kind", [FIXED, BY_LABEL, DIRICHLET])
def test_a_worker_keeps_its_images_and_sees_them_in_new_orders(kind: str) -> None:
    part, again = parts(kind)[1], parts(kind)[1]
    assert set(part.epoch(1).ravel()) == set(part.epoch(2).ravel())
    assert part.epoch(1).tolist() != part.epoch(2).tolist()
    np.testing.assert_array_equal(part.epoch(3), again.epoch(3))
    assert set(parts(kind, seed=1)[1].epoch(1).ravel()) != set(part.epoch(1).ravel())


def classes(part: Partition) -> int:
    return len(np.unique(LABELS[part.epoch(1)]))


def test_by_label_a_worker_sees_few_labels() -> None:
    assert all(classes(part) <= 3 for part in parts(BY_LABEL, pieces=1))
    assert all(classes(part) >= 5 for part in parts(BY_LABEL, pieces=20))


def test_dirichlet_mixtures_are_as_uneven_as_asked() -> None:
    def largest(concentration: float) -> float:
        shares = [
            np.bincount(LABELS[part.epoch(1).ravel()]).max() / part.epoch(1).size
            for part in parts(DIRICHLET, concentration=concentration)
        ]
        return float(np.mean(shares))

    assert largest(0.1) > 0.4 > largest(1.0) > 0.15 > largest(1000.0)


def test_too_many_pieces_are_refused() -> None:
    with pytest.raises(ProgramError, match="make no 1000 pieces"):
        parts(BY_LABEL, pieces=1000)


def test_the_described_shards_are_these() -> None:
    (shards,) = (each for each in described("train.py").parameters if each.name == "shards")
    assert shards.choices == SHARDS
