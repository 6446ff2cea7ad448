"""The nets of Gluon's model zoo as entries: their sizes, and images that are too small for them."""

from __future__ import annotations

import pytest
from training import models
from training.errors import ProgramError
from training.estimates.answers import answer
from training.models.catalogue import OF_IMAGES, ZOO, architecture
from training.yaml_file import read_mapping

PARAMETERS = {
    "zoo:alexnet": 61_100_840,
    "zoo:densenet121": 7_978_856,
    "zoo:mobilenet_v2_1_0": 3_504_872 - 1_000 + 1_088,
    "zoo:resnet18_v1": 11_689_512,
    "zoo:resnet50_v1": 25_557_032 + 18_880,
    "zoo:squeezenet1_1": 1_235_496,
    "zoo:vgg11": 132_863_336,
}
"""Trained values with a thousand classes, as the nets are known; Gluon's MobileNetV2 has no bias at its end and a convolution
more at its beginning, its ResNet-50 has biases."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_net_has_as_many_parameters_as_it_is_known_for(name: str) -> None:
    assert models.load(name, 1000, (224, 224, 3)).parameters() == PARAMETERS[name]


@pytest.mark.parametrize("name", read_mapping(ZOO))
def test_every_net_takes_large_images_grey_or_in_colour(name: str) -> None:
    for channels in (1, 3):
        model = models.load(name, 7, (224, 224, channels))
        assert (model.side, model.channels, model.classes) == (224, channels, 7)
        assert model.placed[-1].after == (7,)


def test_images_that_are_too_small_are_refused_with_the_least_size() -> None:
    with pytest.raises(ProgramError, match="images of 8x8 are too small for zoo:alexnet: ") as refused:
        models.load("zoo:alexnet", 10, (8, 8, 3))
    assert "63x63 or larger" in refused.value.remedy
    assert models.load("zoo:alexnet", 10, (63, 63, 3)).side == 63
    for name, side in (("resnet18_v1", 8), ("squeezenet1_1", 32), ("densenet121", 32), ("vgg11", 32)):
        assert models.load(f"zoo:{name}", 10, (side, side, 1)).side == side


def test_a_name_that_is_none_is_answered_with_those_like_it() -> None:
    with pytest.raises(ProgramError, match=r"there is no model zoo:squeezenet1\.1") as refused:
        models.load("zoo:squeezenet1.1", 10, (32, 32, 3))
    assert "; perhaps zoo:squeezenet1_" in refused.value.remedy


def test_an_input_of_the_images_needs_images() -> None:
    entry = {"input": {"side": OF_IMAGES, "channels": 1}, "layers": [{"dense": "classes"}]}
    assert architecture("small", entry, 10, images=(9, 9, 3)).placed[0].before == (1, 9, 9)
    with pytest.raises(ProgramError, match="none is named"):
        architecture("small", entry, 10)


@pytest.mark.parametrize(
    "options", [[], ["--strategy=pipeline", "--stages=2"], ["--batch-statistics=synchronised"], ["--engine=torch"]]
)
def test_its_need_of_memory_and_its_bytes_are_estimated(options: list[str]) -> None:
    arguments = ["--model=zoo:resnet18_v1", "--dataset=patches", "--kvstore=allreduce", *options]
    found = answer({"arguments": arguments, "ranks": {"worker": 2}, "memory_bytes": 1 << 30})
    assert found["parameters"] == 11_181_642  # with ten classes
    assert found["memory"]["fits"]
    assert (found["traffic"] is None) == ("--batch-statistics=synchronised" in options)
