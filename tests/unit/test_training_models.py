from __future__ import annotations

import numpy as np
import pytest
from training import models


@pytest.mark.parametrize(("model", "parameters"), [("lenet5", 61_706), ("lenet", 431_080)])
def test_parameter_counts_are_the_published_ones(model: str, parameters: int) -> None:
    architecture = models.ARCHITECTURES[model]
    assert architecture.parameters() == parameters
    assert sum(array.size for array in architecture.first_weights(0).values()) == parameters


def test_lenet5_layers() -> None:
    assert list(models.ARCHITECTURES["lenet5"].shapes().items())[::2] == [
        ("conv1_weight", (6, 1, 5, 5)),
        ("conv2_weight", (16, 6, 5, 5)),
        ("dense1_weight", (120, 400)),
        ("dense2_weight", (84, 120)),
        ("dense3_weight", (10, 84)),
    ]


def test_first_weights_are_within_glorots_bounds_and_biases_zero() -> None:
    weights = models.ARCHITECTURES["lenet5"].first_weights(1)
    for name, array in weights.items():
        assert array.dtype == np.float32
        if name.endswith("_bias"):
            assert not array.any()
    assert np.abs(weights["conv1_weight"]).max() == pytest.approx((6 / 175) ** 0.5, rel=0.02)
    assert np.abs(weights["dense1_weight"]).max() == pytest.approx((6 / 520) ** 0.5, rel=0.02)


def test_seeds_give_different_weights_and_the_same_seed_the_same() -> None:
    first, again, other = (models.ARCHITECTURES["lenet"].first_weights(seed) for seed in (0, 0, 1))
    assert models.digest(first) == models.digest(again) != models.digest(other)


def test_few_filters_are_filled_up_to_a_vector_but_the_last_convolutions() -> None:
    assert models.filled_up((6, 16), 16) == [16, 16]
    assert models.filled_up((20, 10), 16) == [20, 10]
    assert models.filled_up((6, 16), 1) == [6, 16]
