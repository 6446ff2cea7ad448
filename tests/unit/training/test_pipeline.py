"""Stages, schedules and micro-batches of a pipeline: what needs no engine and no sockets."""

from __future__ import annotations

import itertools
import random
from collections import deque

import pytest
from training import models, options
from training.errors import ProgramError
from training.estimates.traffic import traffic
from training.memory import Demand
from training.models.catalogue import architecture
from training.pipeline import Plan, planned
from training.pipeline.cut import SLACK, Block, blocks, cut
from training.pipeline.schedule import GPIPE, ONE_FORWARD_ONE_BACKWARD, Pass, bubble, passes, under_way
from training.sharding import Shares

SCHEDULES = (GPIPE, ONE_FORWARD_ONE_BACKWARD)
SIZES = [(stages, micro_batches) for stages in range(1, 6) for micro_batches in range(1, 9)]
MIB = 1 << 20
PYTORCHS = ["--engine=torch", "--pipeline-implementation=torch"]


def ask(*arguments: str, model: str = "lenet5") -> options.Options:
    return options.parse(
        ["--dataset=mnist", "--kvstore=allreduce", "--strategy=pipeline", f"--model={model}", *arguments]
    )


def plan(*arguments: str, model: str = "lenet5", workers: int = 2) -> Plan:
    found = planned(models.load(model, 10), ask(*arguments, model=model), workers)
    assert found
    return found


def carried_out(schedule: str, stages: int, micro_batches: int) -> float:
    """How long a step takes where each pass takes 1 and messages nothing; fails where stages wait for each other for ever."""
    todo = [deque(passes(schedule, stage, stages, micro_batches)) for stage in range(stages)]
    free = [0.0] * stages
    ended: dict[tuple[int, Pass], float] = {}
    while any(todo):
        before = len(ended)
        for stage, queue in enumerate(todo):
            while queue:
                needed = (stage + 1 if queue[0].backward else stage - 1, queue[0])
                outside = not 0 <= needed[0] < stages
                if not outside and needed not in ended:
                    break
                free[stage] = max(free[stage], 0.0 if outside else ended[needed]) + 1
                ended[stage, queue.popleft()] = free[stage]
        assert len(ended) > before, "all stages wait"
    return max(free)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_stage_does_everything_once_and_keeps_as_many_micro_batches_as_are_said(schedule: str) -> None:
    for stages, micro_batches in SIZES:
        for stage in range(stages):
            kept = most = 0
            found = passes(schedule, stage, stages, micro_batches)
            for each in found:
                kept += -1 if each.backward else 1
                most = max(most, kept)
                assert kept >= 0
            for backward in (False, True):
                assert [each.micro_batch for each in found if each.backward is backward] == list(range(micro_batches))
            assert most == under_way(schedule, stage, stages, micro_batches)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_stage_waits_for_ever_and_a_step_takes_what_the_bubble_says(schedule: str) -> None:
    for stages, micro_batches in SIZES:
        took = carried_out(schedule, stages, micro_batches)
        assert 2 * micro_batches / took == pytest.approx(1 - bubble(stages, micro_batches))


def test_one_forward_one_backward_keeps_no_more_than_there_are_stages() -> None:
    assert [under_way(ONE_FORWARD_ONE_BACKWARD, stage, 3, 8) for stage in range(3)] == [3, 2, 1]
    assert [under_way(GPIPE, stage, 3, 8) for stage in range(3)] == [8, 8, 8]


def test_a_cut_is_the_best_of_all_cuts() -> None:
    draw = random.Random(5)  # noqa: S311 - made-up costs
    for _ in range(60):
        made_of = [Block(1, draw.uniform(1, 10), draw.randint(1, 1000)) for _ in range(draw.randint(1, 7))]
        for stages in range(1, len(made_of) + 1):
            limits = [(0, *inner, len(made_of)) for inner in itertools.combinations(range(1, len(made_of)), stages - 1)]

            def slowest(limits: tuple[int, ...], made_of: list[Block] = made_of) -> float:
                return max(sum(block.cost for block in made_of[a:b]) for a, b in itertools.pairwise(limits))

            def sent(limits: tuple[int, ...], made_of: list[Block] = made_of) -> int:
                return sum(made_of[start].inputs for start in limits[1:-1])

            best = min(map(slowest, limits))
            found = tuple(itertools.accumulate(cut(made_of, stages), initial=0))
            assert found in limits
            assert slowest(found) <= SLACK * best * (1 + 1e-9)
            assert sent(found) == min(sent(each) for each in limits if slowest(each) <= SLACK * best)


def test_what_has_nothing_to_train_stays_with_what_precedes_it() -> None:
    model = models.load("lenet5", 10)
    assert [(block.arrays, block.inputs) for block in blocks(model)] == [
        (2, 1024), (2, 6 * 14 * 14), (2, 16 * 5 * 5), (2, 120), (2, 84),
    ]  # fmt: skip
    found = plan("--stages=3", "--micro-batches=4", workers=3)
    assert [layer for layers in found.layers for layer in layers] == list(model.placed)
    assert sum(found.counts) == len(model.arrays)
    assert found.layers[1][0].name == "conv2"


def test_consecutive_workers_are_a_replica() -> None:
    found = plan("--stages=2", workers=6)
    assert (found.stages, found.replicas) == (2, 3)
    assert [found.stage(rank) for rank in range(6)] == [0, 1, 0, 1, 0, 1]
    assert found.replica(3) == [2, 3]
    assert found.peers(3) == [1, 3, 5]


def test_a_replica_has_the_images_of_its_workers() -> None:
    found = plan("--stages=2", "--micro-batches=4", workers=4)
    assert found.shares(Shares((16,) * 4, 2)) == Shares((32, 32), 1)
    assert found.shares(Shares((10, 14, 20, 20), 1)) == Shares((24, 40), 0)
    with pytest.raises(ProgramError, match="batch of 23 images") as caught:
        found.shares(Shares((10, 13, 20, 20), 1))
    assert "--micro-batches 1," in caught.value.remedy


@pytest.mark.parametrize(
    ("arguments", "workers", "message", "remedy"),
    [
        ([], 1, "1 workers cannot be shared out", "a multiple of 2 to 5 workers, or --strategy data"),
        ([], 3, "3 workers cannot be shared out evenly among 2 stages", "--stages 3, or --strategy data"),
        (["--stages=3"], 4, "4 workers cannot be shared out evenly among 3 stages", "--stages 2"),
        (["--stages=6"], 12, "lenet5 has 5 layers with something to train", "--stages 4"),
        (["--micro-batches=7"], 2, "batch of 128 images cannot be cut into 7", "--micro-batches 8"),
        (["--accumulate=2"], 2, "--accumulate", "--micro-batches"),
        (["--rule=average"], 2, "--rule", "--strategy data, or leave --rule out"),
        (["--synchronise-every=2"], 2, "--synchronise-every", "--strategy data, or leave --synchronise-every out"),
        (["--cadence=epoch"], 2, "--cadence", "--strategy data, or leave --cadence out"),
        (["--meet-delay=2"], 2, "--meet-delay", "--strategy data, or leave --meet-delay out"),
        (["--meet-every=2"], 2, "--meet-every", "--strategy data, or leave --meet-every out"),
        (["--dense-gradients=factors"], 2, "--dense-gradients", "--strategy data, or leave --dense-gradients out"),
        (["--wire=bfloat16"], 2, "--wire", "--strategy data, or leave --wire out"),
        (["--lars=0.1"], 2, "--lars", "leave --lars out"),
        (
            [*PYTORCHS, "--stages=4", "--micro-batches=2"],
            4,
            "2 are fewer than 4",
            "use --micro-batches 4, or --schedule gpipe",
        ),
        ([*PYTORCHS, "--sign-messages"], 2, "sign no messages", "leave --sign-messages out, or leave --pipeline-imp"),
        (PYTORCHS[1:], 2, "--pipeline-implementation torch means nothing with --engine mxnet", "--engine torch"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(arguments: list[str], workers: int, message: str, remedy: str) -> None:
    with pytest.raises(ProgramError, match=message) as caught:
        plan(*arguments, workers=workers)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("other", ["--kvstore=none", "--kvstore=dist_sync"])
def test_only_the_allreduce_carries_a_pipeline(other: str) -> None:
    with pytest.raises(ProgramError, match=r"--strategy( pipeline)? means nothing"):
        ask(other)
    with pytest.raises(ProgramError, match="--stages means nothing with --strategy data"):
        options.parse(["--kvstore=allreduce", "--stages=3"])


def test_both_engines_have_the_same_plan_and_move_the_same() -> None:
    model, asked = models.load("lenet5", 10), [ask(), ask("--engine=torch")]
    assert planned(model, asked[0], 2) == planned(model, asked[1], 2)
    first, second = (traffic(model, each, workers=2, servers=None, steps=10) for each in asked)
    assert first == second


def test_a_micro_batch_of_one_image_is_refused_where_it_has_one_value_to_normalise() -> None:
    dense = ["normalisation", {"dense": 8}, "normalisation", {"activation": "tanh"}, {"dense": "classes"}]
    entry = {"input": {"side": 8, "channels": 1}, "layers": [{"convolution": {"filters": 2, "kernel": 3}}, *dense]}
    model = architecture("small", entry, 10)
    with pytest.raises(ProgramError, match="norm2 cannot normalise one value") as caught:
        planned(model, ask("--batch-size=8", "--micro-batches=16"), 2)
    assert caught.value.remedy.startswith("use --micro-batches 8,")
    found = planned(model, ask("--batch-size=8", "--micro-batches=8"), 2)
    assert found
    with pytest.raises(ProgramError, match="norm2"):
        found.shares(Shares((4, 4), 0))
    assert plan("--batch-size=8", "--micro-batches=16", model="resnet20").micro_batches == 16


@pytest.mark.parametrize(
    ("model", "stages", "megabytes"), [("lenet5", 2, 0.60), ("lenet", 2, 0.41), ("alexnet_32", 2, 2.1)]
)
def test_bytes_of_a_step(model: str, stages: int, megabytes: float) -> None:
    chosen = ask(f"--stages={stages}", model=model)
    found = traffic(models.load(model, 10), chosen, workers=stages, servers=None, steps=10**9)
    assert found
    assert found.sent_bytes / 1e6 == pytest.approx(megabytes, rel=0.02)
    assert (found.exact, found.one_model, found.meetings) == (True, True, 10**9)


def test_replicas_add_their_sums_and_an_epochs_end_its_values() -> None:
    model = models.load("lenet5", 10)
    own = [sum(array.size for layer in layers for array in layer.arrays()) for layers in plan().layers]
    one, pair = (
        traffic(model, ask(), workers=workers, servers=None, steps=steps) for workers, steps in ((2, 10**9), (4, 10))
    )
    assert one
    assert pair
    assert pair.sent_bytes - one.sent_bytes == pytest.approx(4 * own[1] * (1 + 1 / 10), rel=1e-6)
    # All together: both replicas' stages send as many values on as back, add up their sums, and tell their own.
    assert one.total_bytes
    assert pair.total_bytes
    assert pair.total_bytes - 2 * one.total_bytes == pytest.approx(2 * 4 * sum(own) * (1 + 1 / 10), rel=1e-6)


def test_batch_normalisation_makes_another_step() -> None:
    chosen = ask(model="resnet20")
    found = traffic(models.load("resnet20", 10), chosen, workers=2, servers=None, steps=10)
    assert found
    assert not found.exact


def test_a_stage_needs_less_memory_than_the_model() -> None:
    model = models.load("alexnet", 10)

    def needs(*arguments: str) -> int:
        asked = ["--dataset=patches", "--model=alexnet", "--batch-size=16", "--kvstore=allreduce", *arguments]
        return Demand(model, 0, options.parse(asked), workers=4).nbytes

    pipeline = ["--strategy=pipeline", "--stages=4", "--micro-batches=8"]
    assert needs(*pipeline) < needs("--dense-gradients=sum")
    assert needs(*pipeline) < needs(*pipeline, "--schedule=gpipe")


def test_a_pipeline_that_does_not_fit_is_told_how_it_would() -> None:
    model = models.load("vgg11", 10)
    chosen = options.parse(
        ["--model=vgg11", "--dataset=patches", "--kvstore=allreduce", "--strategy=pipeline", "--batch-size=512"]
    )
    demand = Demand(model, 0, chosen, workers=2)
    memory = 512 * MIB
    assert not demand.fits(memory)
    assert demand.words.startswith("stage 1 of vgg11 with ")
    assert demand.cutting == "micro_batches"
    pieces, largest = demand.pieces(memory), demand.largest(memory)
    assert pieces
    assert pieces > 8
    assert demand.fits(memory, pieces=pieces)
    assert largest * 2 % 8 == 0
    assert demand.fits(memory, batch=largest)
    assert not demand.fits(memory, batch=largest + 4)


def test_a_measured_cut_follows_the_blocks_times() -> None:
    model = models.load("lenet5", 10)
    count = len(blocks(model))
    for heavy, expected in ((0, 1), (count - 1, count - 1)):
        times = [(count - 1.0 if each == heavy else 1.0) * 1e-3 for each in range(count)]
        found = planned(model, ask(), 2, times)
        assert found
        assert len([layer for layer in found.layers[0] if list(layer.arrays())]) == expected
