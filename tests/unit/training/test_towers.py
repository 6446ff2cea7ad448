"""Branches on different workers: who computes which, what that moves, and what is refused."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
from training import models, options
from training.errors import ProgramError
from training.estimates.answers import answer
from training.estimates.traffic import traffic
from training.memory import Demand
from training.models import Architecture
from training.models.catalogue import architecture
from training.pipeline.cut import VALUE_OPERATIONS, evenly, layers_cost
from training.sharding import Shares
from training.towers.costs import common_values, image_cost, own_values
from training.towers.division import Division, divided

BATCH = 64


def ask(*arguments: str) -> options.Options:
    return options.parse(["--dataset=mnist", "--kvstore=allreduce", "--strategy=towers", *arguments])


def network(*layers: Any) -> Architecture:
    entry = {"input": {"side": 8, "channels": 1}, "layers": [{"convolution": {"filters": 4, "kernel": 3}}, *layers]}
    return architecture("small", entry, 10)


def division(model: str, towers: int, workers: int) -> Division:
    found = divided(models.load(model, 10), towers, workers)
    assert found
    return found


def test_an_even_cut_is_the_best_of_all() -> None:
    draw = random.Random(3)  # noqa: S311 - made-up costs
    for _ in range(60):
        costs = [draw.uniform(1, 10) for _ in range(draw.randint(1, 7))]
        for parts in range(1, len(costs) + 1):
            limits = [(0, *inner, len(costs)) for inner in itertools.combinations(range(1, len(costs)), parts - 1)]
            worst = [max(sum(costs[first:end]) for first, end in itertools.pairwise(each)) for each in limits]
            found = tuple(itertools.accumulate(evenly(costs, parts), initial=0))
            assert worst[limits.index(found)] == pytest.approx(min(worst))


@pytest.mark.parametrize(
    ("model", "towers", "workers"),
    [
        ("inception_small", 2, 2),
        ("inception_small", 3, 6),
        ("inception_small", 4, 8),
        ("alexnet_towers_32", 2, 10),
        ("squeezenet", 2, 4),
    ],
)
def test_every_array_is_at_one_place_or_everywhere(model: str, towers: int, workers: int) -> None:
    found = division(model, towers, workers)
    shares = [Shares((BATCH,) * workers, rank) for rank in range(workers)]
    plans = [found.cut(each) for each in shares]
    common = {name for buffer in plans[0].summed[: plans[0].common] for name in buffer}
    for rank, plan in enumerate(plans):
        own = {name for buffer in plan.summed[plan.common :] for name in buffer}
        held = plan.held(towers)
        assert own == {name for name, _ in held[rank % towers]}
        assert not own & common
        arrays = itertools.chain(common, *([name for name, _ in place] for place in held))
        assert sorted(arrays) == sorted(found.architecture.shapes())
        assert plan.summed == plans[rank % towers].summed  # a buffer is added up with those of the same place
        assert len(plan.parts) == len(plans[0].parts)
        begun = [buffer for number in range(len(plan.parts)) for buffer in plan.beginning(number)]
        assert sorted(begun) == list(range(len(plan.summed)))


def test_a_place_makes_its_columns_and_all_places_make_the_whole() -> None:
    plans = [division("inception_small", 2, 2).cut(Shares((5, 3), rank)) for rank in range(2)]
    assert [len(part.layers) for part in plans[0].parts] == [2, 2, 2, 1]  # pooling stays with the branches
    assert plans[0].crossings == [1, 2, 3]
    assert [plan.forms(1, own) for plan, own in zip(plans, (5, 3), strict=True)] == [
        ((5, 16 * 12 * 12), (8, 16 * 12 * 12)), ((3, 16 * 12 * 12), (8, 16 * 12 * 12)),
    ]  # fmt: skip
    assert [plan.forms(2, 5) for plan in plans] == [
        ((8, 40 * 6 * 6), (8, 56 * 6 * 6)), ((8, 16 * 6 * 6), (8, 56 * 6 * 6)),
    ]  # fmt: skip
    assert [plan.forms(3, own) for plan, own in zip(plans, (5, 3), strict=True)] == [
        ((8, 40), (5, 56)), ((8, 16), (3, 56)),
    ]  # fmt: skip
    assert plans[1].owned[2].columns(2) == [slice(0, 40), slice(40, 56)]
    assert {plan.walked for plan in plans} == {None}


def test_branches_of_images_have_the_groups_images_and_know_the_own_ones() -> None:
    found = division("alexnet_towers_32", 2, 4)
    shares = Shares((4, 6, 8, 2), 3)
    assert found.walked(shares) == Shares((10, 10), 1)
    plan = found.cut(shares)
    assert plan.walked == slice(8, 10)
    assert plan.owned[0].images == 10
    assert found.described(3) == {"number": 2, "of": 2, "group": 2, "layers": [
        "conv3", "conv4", "conv8", "conv9", "conv10", "dense2", "dense4",
    ]}  # fmt: skip
    assert division("inception_small", 2, 4).walked(shares) == shares


def test_a_branch_with_normalisation_stays_with_every_worker() -> None:
    plain = [[{"dense": 4}], [{"dense": 6}]]
    normal = [[{"dense": 4}, "normalisation"], [{"dense": 4}]]
    model = network({"concatenation": normal}, {"concatenation": plain}, {"dense": "classes"})
    found = divided(model, 2, 2)
    assert found
    assert [each.number for each in found.branchings] == [2]
    assert (own_values(found, 0), own_values(found, 1)) == (8 * 4 + 4, 8 * 6 + 6)
    assert common_values(found) + 36 + 54 == model.parameters()
    assert divided(model, 2, 1) is None


@pytest.mark.parametrize(
    ("model", "towers", "workers", "message", "remedy"),
    [
        ("alexnet", 2, 4, "alexnet has no branches beside each other", "use --strategy data, or a model that has them"),
        (
            "inception_small",
            5,
            5,
            "at most, which make no 5 towers",
            "use a multiple of 2 to 4 workers, or --strategy data",
        ),
        ("inception_small", 8, 8, "4 branches beside each other at most", "use --towers 4, or --strategy data"),
        (
            "inception_small",
            2,
            3,
            "3 workers cannot be shared out evenly among 2 towers",
            "use --towers 3, or --strategy data",
        ),
        ("alexnet_towers", 2, 11, "11 workers cannot", "use a multiple of 2 workers, or --strategy data"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    model: str, towers: int, workers: int, message: str, remedy: str
) -> None:
    with pytest.raises(ProgramError, match=message) as caught:
        divided(models.load(model, 10), towers, workers)
    assert caught.value.remedy == remedy
    asked = ["--dataset=patches" if "alexnet" in model else "--dataset=digits", "--kvstore=allreduce"]
    asked += ["--strategy=towers", f"--model={model}", f"--towers={towers}"]
    found = answer({"arguments": asked, "ranks": {"worker": workers}})
    assert message in found["fault"]


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
        ["--meet-delay=2"],
        ["--cadence=epoch"],
        ["--dense-gradients=factors"],
    ],
)
def test_other_mathematics_are_refused_by_the_description(arguments: list[str]) -> None:
    with pytest.raises(ProgramError, match="means nothing with"):
        ask(*arguments)
    with pytest.raises(ProgramError, match="--towers means nothing with --strategy data"):
        options.parse(["--kvstore=allreduce", "--towers=3"])


def test_both_engines_share_the_same_branches_and_move_the_same() -> None:
    model = models.load("inception_small", 10)
    asked = [ask("--model=inception_small"), ask("--model=inception_small", "--engine=torch")]
    first, second = (traffic(model, each, workers=4, servers=None, steps=10) for each in asked)
    assert first == second


def test_bytes_of_the_two_halves_of_alexnet() -> None:
    """Worked out by hand: of 64 images a worker, for two workers half of what each tower makes; for four also its gradients."""
    alexnet = models.load("alexnet_towers", 1000)
    classes = 4096 * 1000 + 1000
    crossed = BATCH * (2 * (256 * 13 * 13 + 256 * 6 * 6 + 4096) + 4096)
    half = (alexnet.parameters() - classes) // 2
    for workers, values in ((2, crossed + classes), (4, crossed + 1.5 * classes + half)):
        asked = ask("--model=alexnet_towers")
        found = traffic(alexnet, asked, workers=workers, servers=None, steps=10**9)
        assert found
        assert found.sent_bytes == pytest.approx(4 * values, rel=1e-6)
        assert (found.exact, found.one_model, found.hides, found.meetings) == (True, True, False, 10**9)
        assert found.total_bytes == pytest.approx(workers * found.sent_bytes)
        assert found.told_bytes == half * 4


def test_even_branches_take_no_longer_and_uneven_ones_as_long_as_the_slowest() -> None:
    even = division("alexnet_towers", 2, 4)
    assert image_cost(even, VALUE_OPERATIONS) == pytest.approx(layers_cost(even.architecture.placed, first=True))
    edge = models.load("inception_small", 10)
    costs = [[layers_cost(branch, first=False) for branch in edge.placed[at].paths] for at in (2, 4)]
    whole = layers_cost(edge.placed, first=True)
    beside = whole - sum(map(sum, costs))
    by_hand = beside + sum(4 * max(each) for each in costs)
    assert image_cost(division("inception_small", 4, 4), VALUE_OPERATIONS) == pytest.approx(by_hand, rel=0.05)
    assert image_cost(division("inception_small", 2, 2), VALUE_OPERATIONS) < by_hand


def test_halves_of_a_large_model_need_less_memory_than_the_whole() -> None:
    alexnet = models.load("alexnet_towers", 10)
    need = {
        strategy: Demand(alexnet, 0, options.parse(["--kvstore=allreduce", "--model=alexnet_towers", *strategy]), 2)
        for strategy in (("--strategy=towers", "--batch-size=16"), ("--dense-gradients=sum", "--batch-size=16"))
    }
    towers, sums = need.values()
    assert towers.nbytes < 0.85 * sums.nbytes
    assert towers.words.startswith("tower 1 of alexnet_towers with 16 images at once")
    memory = 900 << 20
    largest = towers.largest(memory)
    assert largest > 0
    assert towers.fits(memory, batch=largest)
    assert not towers.fits(memory, batch=largest + 1)
    assert towers.pieces(memory) is None  # a batch in pieces is refused


def test_the_models_are_those_that_were_published() -> None:
    assert models.load("alexnet_towers", 1000).parameters() == 60_965_224
    for name in ("alexnet_towers", "alexnet_towers_32"):
        halves = models.load(name, 10).first_weights(0)
        assert not np.array_equal(halves["dense1_weight"], halves["dense2_weight"])
    assert models.load("inception_small", 10).parameters() < 10_000
