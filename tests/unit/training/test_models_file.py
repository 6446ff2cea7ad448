"""Models as data: what models.yaml may say, what comes of it, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from training import models
from training.errors import ProgramError
from training.models.architecture import Architecture
from training.models.catalogue import architecture
from training.models.layers import Normalisation
from training.models.vectors import computed_channels

DIGESTS = {
    ("lenet5", 0): "0086afb5b53df294bdfb4bb6dfd95a915e7173c3453357acc5ff96fc40872d40",
    ("lenet5", 1): "525893697ffa0a3ac186ed820811495e258e4859fdf8a2e94d14a0516dd333a9",
    ("lenet5", 3): "92925efbe5cd6e520117216a74879bf95ab5950bb362ced09670ab67c912c489",
    ("lenet", 0): "10132ca9e81232101976267d5a7fa3c0fe8543cb24db16a9854879021d358992",
    ("lenet", 1): "36c8b50fe19fd7d609c14d07125296588c42d70aaa5d64438e1ff4e5c6dde3cd",
    ("lenet", 3): "45ea38a8864bfd79b528d7cabe9cc41beb5913cbe4480093a917ccb4302b86ee",
}
"""SHA-256 of first weights, as results were published with them."""

RESIDUAL_NETWORK: dict[str, Any] = {
    "input": {"side": 8, "channels": 1},
    "layers": [
        {"convolution": {"filters": 4, "kernel": 3, "padding": 1, "bias": False}},
        "normalisation",
        {"activation": "relu"},
        {
            "residual": {
                "layers": [
                    {"convolution": {"filters": 8, "kernel": 3, "stride": 2, "padding": 1, "bias": False}},
                    "normalisation",
                    {"activation": "relu"},
                    {"convolution": {"filters": 8, "kernel": 3, "padding": 1, "bias": False}},
                    "normalisation",
                ],
                "shortcut": [{"convolution": {"filters": 8, "kernel": 1, "stride": 2, "bias": False}}, "normalisation"],
            }
        },
        {"activation": "relu"},
        {"pooling": {"kind": "average", "size": "all"}},
        "flatten",
        {"dropout": 0.25},
        {"dense": "classes"},
    ],
}


def model(*layers: object, side: int = 8, channels: int = 1) -> Architecture:
    entry = {"input": {"side": side, "channels": channels}, "layers": list(layers)}
    return architecture("small", entry, 10)


@pytest.mark.parametrize(("name", "seed"), DIGESTS)
def test_first_weights_are_those_of_the_published_results(name: str, seed: int) -> None:
    assert models.digest(models.load(name, 10).first_weights(seed)) == DIGESTS[name, seed]


def test_lenet5_is_listed_as_published_and_its_third_convolution_has_a_dense_layers_arrays() -> None:
    lenet5 = models.load("lenet5", 10)
    kinds = [type(layer).__name__ for layer in lenet5.layers if type(layer).__name__ != "Activation"]
    assert kinds == ["Convolution", "Pooling", "Convolution", "Pooling", "Convolution", "Dense", "Dense"]
    third = lenet5.placed[6]
    assert (third.name, third.before, third.after) == ("dense1", (16, 5, 5), (120,))


def test_the_last_layer_follows_the_data_sets_classes() -> None:
    assert models.load("lenet5", 100).shapes()["dense3_weight"] == (100, 84)


def test_a_residual_networks_arrays_are_in_forward_order() -> None:
    network = architecture("residual", RESIDUAL_NETWORK, 10)
    assert list(network.shapes()) == [
        "conv1_weight", "norm1_scale", "norm1_shift",
        "conv2_weight", "norm2_scale", "norm2_shift", "conv3_weight", "norm3_scale", "norm3_shift",
        "conv4_weight", "norm4_scale", "norm4_shift", "dense1_weight", "dense1_bias",
    ]  # fmt: skip
    assert [array.name for array in network.statistics][:2] == ["norm1_mean", "norm1_variance"]
    first = network.first_weights(0)
    assert (first["norm2_scale"] == 1).all()
    assert not first["norm2_shift"].any()
    statistics = network.first_statistics()
    assert not statistics["norm4_mean"].any()
    assert (statistics["norm4_variance"] == 1).all()
    assert all(value.dtype == np.float32 for value in (first | statistics).values())
    assert sum(isinstance(layer, Normalisation) for layer in network.every_layer()) == 4


def test_parts_are_cut_between_layers_and_limits_moved_there() -> None:
    network = architecture("residual", RESIDUAL_NETWORK, 10)
    assert network.aligned([5, 9]) == [3, 11]  # a residual is one layer
    assert network.aligned([1, 13]) == [1, 13]
    assert [len(part) for part in network.parts([3, 11])] == [3, 6]
    assert network.aligned([14]) == [14]
    with pytest.raises(ValueError, match="cut through a layer"):
        network.parts([5, 9])
    lenet5 = models.load("lenet5", 10)
    assert lenet5.aligned([4, 6]) == [4, 6]
    assert [part[0].name for part in lenet5.parts([4, 6])] == ["conv1", "dense1"]


def test_only_convolutions_that_follow_each_other_are_filled_up() -> None:
    assert computed_channels(models.load("lenet5", 10).placed, 16) == {"conv1": (1, 16), "conv2": (16, 16)}
    assert computed_channels(models.load("lenet5", 10).placed, 1) == {}
    network = architecture("residual", RESIDUAL_NETWORK, 10)
    assert computed_channels(network.placed, 16) == {}


@pytest.mark.parametrize(
    ("layers", "complaint"),
    [
        (["convolutional"], "layer 1: there is no layer 'convolutional'"),
        ([{"convolution": {"filters": 6}}], "layer 1: convolution: missing: kernel"),
        ([{"convolution": {"filters": 6, "kernel": 5, "kernels": 1}}], "convolution: unknown: kernels"),
        ([{"convolution": {"filters": 0, "kernel": 5}}], "filters: 0 is no whole number of at least 1"),
        ([{"convolution": {"filters": True, "kernel": 5}}], "filters: True is no whole number"),
        ([{"convolution": {"filters": 6, "kernel": 9}}], "layer 1, convolution: its 9x9 do not fit into 1x8x8"),
        ([{"convolution": {"filters": 6, "kernel": 5, "computed_as": "dense"}}], "does not cover the whole 1x8x8"),
        ([{"activation": "gelu"}], "activation: kind: 'gelu' is none of tanh, relu, relu6, sigmoid"),
        (
            [{"convolution": {"filters": 6, "kernel": 3, "groups": 3}}],
            "its 3 groups share neither 1 channels nor 6 filters",
        ),
        ([{"concatenation": [["flatten"], []]}], "one branch makes 64, another 1x8x8"),
        ([{"concatenation": [["flatten"]]}], "concatenation: branches: [['flatten']] is no list of at least 2 lists"),
        ([{"concatenation": [[], ["flat"]]}], "concatenation: branches: layer 1: there is no layer 'flat'"),
        ([{"dense": 4}, {"widening": 2}], "widening: it takes images, and finds 4"),
        ([{"convolution": {"filters": 6, "kernel": 3}}, {"widening": 2}], "6 channels come, more than its 2"),
        ([{"sequence": {"times": 0, "layers": []}}], "layer 1: 0 is no whole number of at least 1"),
        ([{"sequence": {"layers": ["flat"]}}], "layer 1: layer 1: there is no layer 'flat'"),
        ([{"dropout": 1.0}], "dropout: rate: 1.0 is not below 1"),
        ([{"pooling": {"kind": "max", "size": "some"}}], "size: 'some' is no whole number of at least 1 or all"),
        ([{"dense": 5}, {"pooling": {"kind": "max", "size": 2}}], "layer 2, pooling: it takes images, and finds 5"),
        ([{"dense": 5}], "must give 10 scores"),
        (["flatten"], "nothing to train"),
        ([{"residual": {"layers": [{"dense": 5}]}}], "its layers make 5, its shortcut 1x8x8"),
        ([{"residual": {"layers": ["flat"]}}], "residual: layers: layer 1: there is no layer 'flat'"),
        ([{"dense": 5, "flatten": {}}], "is not one kind of layer"),
    ],
)
def test_what_cannot_be_is_refused_with_the_place(layers: list[Any], complaint: str) -> None:
    with pytest.raises(ProgramError) as caught:
        model(*layers)
    assert complaint in caught.value.message
    assert "model small" in caught.value.message


@pytest.mark.parametrize(
    "entry", [None, [], {"layers": []}, {"input": {"side": 8}, "layers": []}, {"input": 5, "layers": []}]
)
def test_an_entry_without_its_parts_is_refused(entry: object) -> None:
    with pytest.raises(ProgramError, match="model small"):
        architecture("small", entry, 10)


def test_an_unknown_model_is_refused_with_those_there_are() -> None:
    with pytest.raises(ProgramError, match="no model resnet") as caught:
        models.load("resnet", 10)
    assert "lenet5, lenet" in caught.value.remedy
