"""Which dense layers are split, what that moves, and how a model is cut into parts."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from training import models, options
from training.errors import ProgramError
from training.estimates.traffic import traffic
from training.kvstores.allreduce.dense import sum_bytes
from training.kvstores.allreduce.shards import split
from training.memory import Demand
from training.models import Architecture
from training.models.catalogue import architecture
from training.split.choice import ALL, AUTO, chosen, split_bytes
from training.split.parts import Plan, Slice, columns_of, planned, sliceable

BATCH = 64


def network(*layers: Any) -> Architecture:
    entry = {"input": {"side": 8, "channels": 1}, "layers": [{"convolution": {"filters": 4, "kernel": 3}}, *layers]}
    return architecture("small", entry, 10)


def ask(*arguments: str) -> options.Options:
    return options.parse(["--dataset=mnist", "--kvstore=allreduce", "--strategy=split", *arguments])


def megabytes(model: str, classes: int, workers: int, *arguments: str) -> float:
    found = traffic(
        models.load(model, classes), ask(f"--model={model}", *arguments), workers=workers, servers=None, steps=85
    )
    assert found is not None
    assert (found.exact, found.one_model, found.hides, found.meetings) == (True, True, False, 85)
    return found.sent_bytes / 1e6


@pytest.mark.parametrize(
    ("model", "classes", "figures"),
    [
        ("lenet", 10, {2: 0.66, 4: 1.60}),
        ("alexnet_32", 10, {2: 12.8, 4: 23.2, 11: 44.8}),
        ("resnet18", 1000, {2: 45.2, 4: 68.2, 11: 84.4}),
        ("alexnet", 1000, {2: 19, 4: 42, 11: 108}),
    ],
)
def test_bytes_of_four_models(model: str, classes: int, figures: dict[int, float]) -> None:
    """MB a step with batches of 64, worked out by hand beforehand."""
    for workers, expected in figures.items():
        assert megabytes(model, classes, workers) == pytest.approx(expected, rel=0.01)


def test_neighbours_save_putting_outputs_together() -> None:
    alexnet = models.load("alexnet", 1000)
    first, second, third = (layer for layer, _ in sliceable(alexnet))
    ways, images = 2 * 3 / 4 * 4, 4 * BATCH  # bytes of a value to and from three of four workers
    put_together = ways * images * 4096 / 4
    assert split_bytes(alexnet, ["dense1"], 4, images) == ways * images * 9216 + put_together
    assert split_bytes(alexnet, ["dense1", "dense2"], 4, images) == ways * images * (9216 + 4096) + put_together
    assert split_bytes(alexnet, ["dense1", "dense3"], 4, images) == (
        ways * images * (9216 + 4096) + put_together + ways * images * 1000 / 4
    )
    assert [each.units for each in (first, second, third)] == [4096, 4096, 1000]


@pytest.mark.parametrize("workers", [2, 3, 5, 10, 11])
@pytest.mark.parametrize("batch", [1, 3, 16, 128])
def test_the_choice_is_the_best_of_all_there_are(workers: int, batch: int) -> None:
    model = network(
        {"dense": 300}, {"dense": 40}, {"activation": "tanh"}, {"dense": 90}, "normalisation", {"dense": 10}
    )
    layers, images = [layer for layer, _ in sliceable(model)], batch * workers

    def sent(names: tuple[str, ...]) -> float:
        whole = sum(sum_bytes(layer, workers) for layer in layers if layer.name not in names)
        return whole + split_bytes(model, names, workers, images)

    wide = [layer.name for layer in layers if layer.units >= workers]
    best = min(sent(names) for count in range(5) for names in itertools.combinations(wide, count))
    try:
        found = tuple(layer.name for layer in chosen(model, workers, images, AUTO))
    except ProgramError:
        found = ()
    assert sent(found) == pytest.approx(best)


def test_what_cannot_or_should_not_be_split_is_refused_with_what_can() -> None:
    with pytest.raises(ProgramError, match="squeezenet has no dense layer") as caught:
        chosen(models.load("squeezenet", 10), 4, 256, AUTO)
    assert caught.value.remedy == "use --strategy data"
    lenet5 = models.load("lenet5", 10)
    with pytest.raises(ProgramError, match="worth splitting") as caught:
        chosen(lenet5, 4, 256, AUTO)
    assert "--split-layers all" in caught.value.remedy
    with pytest.raises(ProgramError, match="dense3 of lenet5 has 10 outputs, fewer than 11 workers") as caught:
        chosen(lenet5, 11, 704, ALL)
    assert caught.value.remedy == "use --strategy data, or at most 10 nodes"
    with pytest.raises(ProgramError) as caught:
        chosen(models.load("alexnet_32", 10), 11, 704, ALL)
    assert caught.value.remedy == "use --split-layers auto, or at most 10 nodes"
    assert [layer.name for layer in chosen(lenet5, 4, 256, ALL)] == ["dense1", "dense2", "dense3"]
    assert chosen(lenet5, 1, 64, AUTO) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--kvstore=none"],
        ["--kvstore=dist_sync"],
        ["--rule=average"],
        ["--accumulate=2"],
        ["--engine=torch", "--accumulate=2"],
        ["--wire=bfloat16"],
        ["--synchronise-every=2"],
        ["--meet-every=2"],
        ["--meet-delay=2"],
        ["--cadence=epoch"],
        ["--dense-gradients=factors"],
    ],
)
def test_other_mathematics_are_refused_by_the_description(arguments: list[str]) -> None:
    with pytest.raises(ProgramError, match="means nothing with"):
        ask(*arguments)
    with pytest.raises(ProgramError, match="--split-layers means nothing with --strategy data"):
        options.parse(["--kvstore=allreduce", "--split-layers=all"])


def test_both_engines_split_the_same_layers_and_move_the_same() -> None:
    model, asked = models.load("lenet", 10), [ask("--model=lenet"), ask("--model=lenet", "--engine=torch")]
    first, second = (traffic(model, each, workers=4, servers=None, steps=10) for each in asked)
    assert first == second


def plan_of(model: Architecture, names: list[str], *, rank: int = 1, workers: int = 3) -> Plan:
    layers = [layer for layer, _ in sliceable(model) if layer.name in names]
    columns = [columns_of(layer.units, workers)[rank] for layer in layers]
    slices = [Slice(layer, part.start, part.stop, 12) for layer, part in zip(layers, columns, strict=True)]
    return planned(model, slices, split)


def test_every_layer_is_in_one_part_and_every_array_in_one_buffer_or_slice() -> None:
    model = network(
        {"activation": "relu"}, {"convolution": {"filters": 8, "kernel": 3}}, "flatten", {"dense": 20},
        {"dropout": 0.1}, {"dense": 12}, "normalisation", {"activation": "tanh"}, {"dense": 30}, {"dense": "classes"},
    )  # fmt: skip
    names = [layer.name for layer, _ in sliceable(model)]
    for count in range(1, len(names) + 1):
        for some in itertools.combinations(names, count):
            plan = plan_of(model, list(some))
            assert tuple(layer for part in plan.parts for layer in part.layers) == model.placed
            sliced = [own.layer.name for own in plan.slices.values()]
            assert sliced == list(some)
            arrays = [name for own in plan.slices.values() for name in own.layer.arrays]
            assert sorted([*itertools.chain(*plan.summed), *arrays]) == sorted(model.shapes())
            begun = [buffer for number in range(len(plan.parts)) for buffer in plan.beginning(number)]
            assert begun == list(range(len(plan.summed)))
            for number in plan.crossings:
                assert plan.parts[number - 1].slice or plan.parts[number].slice


def test_parts_of_alexnet() -> None:
    plan = plan_of(models.load("alexnet", 1000), ["dense1", "dense2", "dense3"])
    assert [len(part.layers) for part in plan.parts] == [8, 6, 3, 2, 1, 0]
    assert list(plan.slices) == [2, 3, 4]
    assert plan.crossings == [2, 3, 4, 5]
    assert [names[0] for names in plan.summed] == ["conv1_weight", "conv4_weight"]
    assert (plan.beginning(0), plan.beginning(1), plan.beginning(2)) == ([0], [1], [])
    second = plan.slices[3]
    assert (second.first, second.end) == (1365, 2730)
    assert plan.forms(2, 5) == ((5, 9216), (12, 9216))
    assert plan.forms(3, 5) == ((12, 1365), (12, 4096))
    assert plan.forms(5, 5) == ((12, 333), (5, 1000))
    with pytest.raises(ValueError, match="nothing is exchanged before part 1"):
        plan.forms(1, 5)


def test_slices_are_of_weights_and_bias_and_all_of_them_are_the_whole() -> None:
    model = network({"dense": 7}, {"dense": {"units": "classes", "bias": False}})
    arrays = model.first_weights(0)
    for layer in model.dense_layers():
        parts = [Slice(layer, part.start, part.stop, 6).of(arrays) for part in columns_of(layer.units, 3)]
        assert list(parts[0]) == list(layer.arrays)
        for name, form in layer.forms.items():
            whole = np.concatenate([part[name] for part in parts])
            assert whole.shape == form
            np.testing.assert_array_equal(whole, arrays[name])


def test_a_layer_without_trained_arrays_before_it_is_not_split() -> None:
    entry = {"input": {"side": 8, "channels": 1}, "layers": ["flatten", {"dense": 20}, {"dense": "classes"}]}
    assert [layer.name for layer, _ in sliceable(architecture("flat", entry, 10))] == ["dense2"]


def test_a_node_needs_less_memory_where_layers_are_split() -> None:
    alexnet = models.load("alexnet", 10)
    need = {
        strategy: Demand(alexnet, 0, ask("--batch-size=16", f"--strategy={strategy}"), 4).nbytes
        for strategy in ("data", "split")
    }
    sums = Demand(alexnet, 0, ask("--batch-size=16", "--strategy=data", "--dense-gradients=sum"), 4).nbytes
    assert need["split"] < need["data"] < sums
