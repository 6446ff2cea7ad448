from __future__ import annotations

import numpy as np
import pytest
from training import models
from training.models.vectors import filled_up


@pytest.mark.parametrize(("model", "parameters"), [("lenet5", 61_706), ("lenet", 431_080)])
def test_parameter_counts_are_the_published_ones(model: str, parameters: int) -> None:
    architecture = models.load(model, 10)
    assert architecture.parameters() == parameters
    assert sum(array.size for array in architecture.first_weights(0).values()) == parameters


@pytest.mark.parametrize(
    ("model", "classes", "parameters"),
    [
        ("resnet20", 10, 269_722),
        ("resnet32", 10, 464_154),
        ("resnet18", 1000, 11_689_512),
        ("alexnet", 1000, 61_100_840),
        ("alexnet_32", 10, 23_272_266),
        ("squeezenet", 1000, 1_235_496),
        ("mobilenet_v2", 1000, 3_504_872),
    ],
)
def test_larger_models_have_the_parameters_that_are_published(model: str, classes: int, parameters: int) -> None:
    assert models.load(model, classes).parameters() == parameters


@pytest.mark.parametrize(
    ("large", "small"),
    [("resnet18", "resnet18_32"), ("squeezenet", "squeezenet_32"), ("mobilenet_v2", "mobilenet_v2_32")],
)
def test_variants_for_small_images_have_the_same_layers_behind_the_first(large: str, small: str) -> None:
    both = [models.load(name, 10) for name in (large, small)]
    assert [model.side for model in both] == [224, 32]
    assert len({len(model.arrays) for model in both}) == 1
    assert len({model.arrays[-1] for model in both}) == 1


def test_first_weights_by_he_are_within_their_bounds() -> None:
    weights = models.load("mobilenet_v2", 10).first_weights(1)
    assert np.abs(weights["conv2_weight"]).max() == pytest.approx((6 / 9) ** 0.5, rel=0.02)  # depthwise: 9 inputs
    assert np.abs(weights["conv1_weight"]).max() == pytest.approx((6 / 27) ** 0.5, rel=0.02)


def test_lenet5_layers() -> None:
    assert list(models.load("lenet5", 10).shapes().items())[::2] == [
        ("conv1_weight", (6, 1, 5, 5)),
        ("conv2_weight", (16, 6, 5, 5)),
        ("dense1_weight", (120, 400)),
        ("dense2_weight", (84, 120)),
        ("dense3_weight", (10, 84)),
    ]


def test_first_weights_are_within_glorots_bounds_and_biases_zero() -> None:
    weights = models.load("lenet5", 10).first_weights(1)
    for name, array in weights.items():
        assert array.dtype == np.float32
        if name.endswith("_bias"):
            assert not array.any()
    assert np.abs(weights["conv1_weight"]).max() == pytest.approx((6 / 175) ** 0.5, rel=0.02)
    assert np.abs(weights["dense1_weight"]).max() == pytest.approx((6 / 520) ** 0.5, rel=0.02)


def test_seeds_give_different_weights_and_the_same_seed_the_same() -> None:
    first, again, other = (models.load("lenet", 10).first_weights(seed) for seed in (0, 0, 1))
    assert models.digest(first) == models.digest(again) != models.digest(other)


def test_few_filters_are_filled_up_to_a_vector_but_the_last_convolutions() -> None:
    assert filled_up((6, 16), 16) == [16, 16]
    assert filled_up((20, 10), 16) == [20, 10]
    assert filled_up((6, 16), 1) == [6, 16]
