"""Which strategy is advised, in which words, and which rows are shown."""

from __future__ import annotations

import numpy as np
import pytest

from harness.advise.costs import Costs
from harness.advise.ranking import Option, advised, option_of, ranked, sentence, shown
from harness.advise.strategies import ONE_NODE, Asked, Candidate, Strategy
from harness.check.estimates import Estimate, Memory, Traffic
from harness.experiment.rates import Rate
from harness.virtual.link import Link

NOTHING = Traffic(meetings=0, sent_bytes=0, phased_bytes=0, hides=0, exact=True, one_model=True)
COSTS = Costs(*(np.array([each]) for each in (0.0, 0.0, 1.0, 0.0, 1.0)))
LINK = Link(100_000_000)
STEPS = 120
SECOND = LINK.rate / 8 * 1448 / 1538  # bytes that take one on the link


def candidate(name: str, nodes: int, moved: Traffic, *, fits: bool = True) -> Candidate:
    memory = Memory(text=f"{name} needs 9 MB", nbytes=9_000_000, fits=fits, instead=() if fits else ({"size": 2},))
    return Candidate(
        Strategy(name, {"way": name}), nodes, Estimate(memory=memory, traffic=moved, steps=STEPS // nodes, operations=1)
    )


def sums(nodes: int, seconds: float, *, name: str = "sums", fits: bool = True) -> Candidate:
    """It meets in every step, in which the wire takes so long."""
    moved = Traffic(
        meetings=STEPS // nodes, sent_bytes=seconds * SECOND, phased_bytes=seconds * SECOND,
        hides=1, exact=True, one_model=True,
    )  # fmt: skip
    return candidate(name, nodes, moved, fits=fits)


def average(nodes: int, seconds: float) -> Candidate:
    """It meets once an epoch."""
    moved = Traffic(
        meetings=1, sent_bytes=seconds * SECOND, phased_bytes=seconds * SECOND, hides=0, exact=False, one_model=True
    )
    return candidate("average", nodes, moved)


def never(nodes: int) -> Candidate:
    return candidate("never", nodes, NOTHING.model_copy(update={"exact": False, "one_model": False}))


def options(*together: Candidate, image_seconds: tuple[float, ...] = (0.001,) * 4) -> tuple[Option, ...]:
    rates = [Rate(f"n{number}", "", 0.0, seconds) for number, seconds in enumerate(image_seconds)]
    return ranked(Asked(candidate(ONE_NODE, 1, NOTHING), together, 1.0, {}), rates, 40, LINK, COSTS)


def test_two_may_be_slower_than_one() -> None:
    found = options(sums(2, 21.0))
    assert sentence(found) == (
        "2 nodes that meet in every step are slower than one: a step computes 40.0 ms and moves 21.0 s; "
        "train on one: 4.80 s an epoch"
    )
    assert advised(found).nodes == 1


def test_where_every_step_is_too_dear_another_way_may_pay() -> None:
    found = options(sums(2, 21.0), average(2, 1.2))
    assert sentence(found) == (
        "2 nodes that meet in every step are slower than one: a step computes 40.0 ms and moves 21.0 s; "
        "average on 2 nodes: 3.60 s an epoch, 1.33 times as fast as one, but other mathematics"
    )
    assert advised(found).name == "average"


def test_the_quickest_that_computes_the_same_is_advised_and_a_much_quicker_one_named() -> None:
    found = options(sums(2, 0.01), sums(4, 0.02), average(4, 0.02))
    assert sentence(found) == (
        "take sums on 4 nodes: 1.80 s an epoch, 2.67 times as fast as one (a step computes 40.0 ms and moves 20.0 ms); "
        "average on 4 nodes: 1.22 s an epoch, 3.93 times as fast as one, but other mathematics"
    )
    assert "other mathematics" not in sentence(options(sums(4, 0.001), average(4, 0.02)))


def test_what_does_not_fit_and_what_trains_no_one_model_is_never_advised() -> None:
    found = options(sums(4, 0.0, fits=False), sums(2, 0.0), never(4))
    assert (advised(found).name, advised(found).nodes) == ("sums", 2)
    assert [(each.name, each.nodes) for each in found] == [("sums", 2), (ONE_NODE, 1), ("sums", 4), ("never", 4)]
    assert sentence(options(sums(4, 0.0, fits=False), never(4))) == "train on one: 4.80 s an epoch"
    assert sentence(options()) == "train on one: 4.80 s an epoch"


def test_the_slowest_node_says_how_long_a_step_computes() -> None:
    found = options(sums(2, 0.0), sums(3, 0.0), image_seconds=(0.001, 0.001, 0.003, 0.001))
    assert (advised(found).nodes, advised(found).computing_seconds) == (2, 0.04)
    assert next(each for each in found if each.nodes == 3).computing_seconds == 0.12


def test_a_strategy_may_compute_longer_than_a_node_with_its_own_batch() -> None:
    slow = NOTHING.model_copy(update={"images": 1.5, "meetings": STEPS // 2})
    (each,) = (option for option in options(candidate("slow", 2, slow)) if option.nodes == 2)
    assert each.computing_seconds == pytest.approx(0.06)
    assert each.seconds.value == pytest.approx(STEPS / 2 * 0.06)


def test_what_is_fixed_of_a_step_is_by_the_rate_and_else_by_the_program() -> None:
    half = NOTHING.model_copy(update={"fixed": 0.5})
    estimate = Estimate(traffic=half, steps=10, operations=1, fixed=0.25)
    each = Candidate(Strategy("half", {}), 2, estimate)
    measured, assumed = [Rate("n", "", 0.02, 0.002)] * 2, [Rate("n", "", 0.0, 0.0025)] * 2
    for rates, seconds in ((measured, 0.08 + 0.5 * 0.02), (assumed, 0.75 * 0.1 + 0.5 * 0.25 * 0.1)):
        assert option_of(each, rates, 40, LINK, COSTS).computing_seconds == pytest.approx(seconds)


def test_rows_are_one_node_the_most_and_each_strategy_s_best_number_once() -> None:
    several = [
        sums(2, 0.1),
        sums(3, 0.3),
        sums(4, 0.9),
        sums(2, 0.1, name="the same"),
        average(3, 0.1),
        average(4, 0.1),
    ]
    rows = [(each.name, each.nodes) for each in shown(options(*several), 4)]
    assert sorted(rows) == [("average", 4), (ONE_NODE, 1), ("sums", 2), ("sums", 4)]


def test_bytes_are_those_of_an_average_step() -> None:
    (each,) = (option for option in options(average(4, 1.0)) if option.nodes == 4)
    assert each.step_bytes * STEPS / 4 == pytest.approx(SECOND)


def test_what_is_told_at_an_epoch_s_end_is_of_the_epoch_and_of_no_step() -> None:
    told = NOTHING.model_copy(update={"told_bytes": 2 * SECOND, "meetings": STEPS // 2})
    (each,) = (option for option in options(candidate("split", 2, told)) if option.nodes == 2)
    assert each.seconds.value == pytest.approx(STEPS / 2 * 0.04 + 2)
    assert each.step_seconds == pytest.approx(0.04)
    assert each.step_bytes * STEPS / 2 == pytest.approx(2 * SECOND)


def test_several_nodes_may_have_the_memory_that_one_lacks() -> None:
    alone = Asked(candidate(ONE_NODE, 1, NOTHING, fits=False), (sums(2, 21.0),), 1.0, {})
    found = ranked(alone, [Rate("n", "", 0.0, 0.001)] * 2, 40, LINK, COSTS)
    assert advised(found).nodes == 2
    assert sentence(found).startswith("one node has too little memory; take sums on 2 nodes: 21 min 02 s an epoch")
