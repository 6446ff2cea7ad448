"""How long the slowest worker of a strategy computes, against what was worked out by hand."""

from __future__ import annotations

import pytest
from training import models, options
from training.estimates import computing
from training.estimates.answers import answer
from training.estimates.computing import (
    ACCESS,
    LAYER,
    PRODUCT,
    Multiples,
    Work,
    image_cost,
    passes_cost,
    step_cost,
    sum_cost,
)
from training.pipeline import Plan, planned
from training.towers.division import Division, divided

ALEXNET = models.load("alexnet", 10)
VALUES, LAYERS = ALEXNET.parameters(), len(ALEXNET.placed)
DENSE = ALEXNET.dense_layers()
SHARED = sum(layer.size for layer in DENSE)


def staged(model: str, micro_batches: int, workers: int = 2) -> Plan:
    asked = ["--kvstore=allreduce", "--strategy=pipeline", "--stages=2", f"--micro-batches={micro_batches}"]
    chosen = options.parse(["--dataset=mnist", f"--model={model}", "--batch-size=64", *asked])
    found = planned(models.load(model, 10), chosen, workers)
    assert found
    return found


def towers(model: str, count: int, workers: int) -> Division:
    found = divided(models.load(model, 10), count, workers)
    assert found
    return found


def test_a_step_is_its_images_its_layers_and_the_accesses_to_all_values() -> None:
    image = image_cost(ALEXNET.placed, first=True)
    assert Work(ALEXNET, 4).whole == pytest.approx(4 * image + LAYERS * LAYER + 6 * ACCESS * VALUES)
    # In two pieces weights are read twice, and gradients of the first are added to.
    assert Work(ALEXNET, 4, passes=2).whole == pytest.approx(4 * image + 2 * LAYERS * LAYER + 10 * ACCESS * VALUES)


def test_an_owner_adds_up_its_shard_and_steps_on_it() -> None:
    """Kept (read, written), copied (the same), stepped on (5); each other worker's is added (3)."""
    assert sum_cost(100, 1) == 9 * ACCESS * 100
    assert sum_cost(100, 4) == pytest.approx((9 + 3 * 3) / 4 * ACCESS * 100)
    work = Work(ALEXNET, 4)
    sums = (work.fixed - step_cost(VALUES) + sum_cost(VALUES, 4)) / work.fixed
    assert work.with_factors([], 4) == Multiples(1.0, pytest.approx(sums))
    assert work.with_slices([], 4) == Multiples(1.0, pytest.approx(sums))


def test_who_has_a_part_of_a_layer_s_outputs_saves_that_part_of_the_accesses() -> None:
    work, common = Work(ALEXNET, 4), VALUES - SHARED
    by_hand = LAYERS * LAYER + ACCESS * (3 * common + (3 + 1.1) * SHARED / 4) + sum_cost(common, 4)
    assert work.with_slices(DENSE, 4) == Multiples(1.0, pytest.approx(by_hand / work.fixed))


def test_factors_are_multiplied_over_all_workers_images_instead_of_each_s_own() -> None:
    work = Work(ALEXNET, 4)
    products = sum(layer.inputs * layer.units for layer in DENSE)
    by_hand = (
        LAYERS * LAYER + ACCESS * (3 * (VALUES - SHARED) + (2 + 0.5 + 1.1) * SHARED) + sum_cost(VALUES - SHARED, 4)
    )
    found = work.with_factors(DENSE, 4)
    assert found.images == pytest.approx(1 + 4 * products * (4 * PRODUCT - 1) / work.of_images)
    assert found.fixed == pytest.approx(by_hand / work.fixed)


def test_rounding_to_bfloat16_takes_as_long_as_was_measured() -> None:
    """0.9 ms more processor time a step of LeNet-5 on 11 workers, of 6.3 ms alone (docs/explanation/performance.md)."""
    work = Work(models.load("lenet5", 10), 64)
    more = (work.with_halves().fixed - 1) * work.fixed / work.whole
    assert more * 6.3 == pytest.approx(0.9, rel=0.3)


def test_a_pipeline_is_bounded_by_its_slowest_stage_and_its_bubble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computing, "LAYER", 0.0)  # so that many micro-batches cost nothing of their own
    monkeypatch.setattr(computing, "ACCESS", 1e-3)
    model = models.load("lenet5", 10)
    few, many = (Work(model, 64).in_stages(staged("lenet5", count)).images for count in (1, 128))
    assert few == pytest.approx(2.0)  # one micro-batch: nothing is done at the same time
    stages = [image_cost(layers, first=not number) for number, layers in enumerate(staged("lenet5", 1).layers)]
    assert many == pytest.approx(2 * (max(stages) + min(stages) / 128) / sum(stages))
    assert 1 < many < few


def test_every_micro_batch_passes_through_the_stage_s_weights() -> None:
    work = Work(models.load("alexnet_32", 10), 64)
    for workers, replicas in ((2, 1), (4, 2)):
        found = staged("alexnet_32", 4, workers)
        first, second = found.layers
        own = sum(array.size for layer in second for array in layer.arrays())  # the dense layers are there
        step = sum_cost(own, 2) if replicas > 1 else 1.1 * ACCESS * own
        by_hand = passes_cost(second, 4) + passes_cost(first, 4) / 4 + step
        assert work.in_stages(found).fixed == pytest.approx(by_hand / work.fixed)


def test_even_towers_take_no_longer_for_images_and_pass_through_fewer_values() -> None:
    model = models.load("alexnet_towers", 10)
    work, values, common = Work(model, 4), model.parameters(), 4096 * 10 + 10
    own = (values - common) // 2
    for workers, owners in ((2, 1), (4, 2)):
        found = work.in_towers(towers("alexnet_towers", 2, workers))
        saved = 3 * ACCESS * (values - own - common)
        by_hand = work.fixed - step_cost(values) - saved + sum_cost(own, owners) + sum_cost(common, workers)
        assert found == Multiples(pytest.approx(1.0), pytest.approx(by_hand / work.fixed))


def test_what_is_told_of_an_image_follows_the_batch() -> None:
    for batch in (4, 64):
        arguments = ["--model=alexnet", "--dataset=patches", "--kvstore=none", f"--batch-size={batch}"]
        found, work = answer({"arguments": arguments, "ranks": {"worker": 1}}), Work(ALEXNET, batch)
        assert found["operations"] == pytest.approx(work.whole / batch)
        assert found["fixed"] == pytest.approx(work.fixed / work.whole)
