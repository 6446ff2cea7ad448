"""What `--try` runs, what it says of it, and what a curve of another run adds. Nothing is run here."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.advise.answer import advise
from harness.advise.curves import Curves, known_curves
from harness.advise.machines import Given
from harness.advise.question import Advice, Question
from harness.advise.ranking import advised, best_strategies
from harness.advise.trying import BEST, EPOCHS, Tried, TriedRun, short_run
from harness.errors import BadInputError
from harness.experiment.catalog import find_program
from harness.experiment.parameter import Value
from harness.experiment.plan import expand
from harness.paths import REPOSITORY
from harness.results.run_paths import RunPaths

ACCURACY = Path(str(REPOSITORY)) / "docs" / "results" / "virtual-11" / "accuracy"
SUBJECT: dict[str, Value] = {"model": "lenet5", "dataset": "mnist"}


def question(**more: Value) -> Question:
    given = Given(nodes=4, link="100mbit", profile="pi3")
    return Question(find_program("train.py"), SUBJECT, {**SUBJECT, **more}, given)


@pytest.fixture(scope="module")
def advice() -> Advice:
    return advise(question())


def test_the_best_strategies_are_different_ones_and_the_advised_is_among_them(advice: Advice) -> None:
    best = best_strategies(advice.options, BEST)
    assert [each.name for each in best] == ["average every epoch", "average every 17 steps", "sums"]
    assert advised(advice.options) in best
    assert [each.seconds.value for each in best] == sorted(each.seconds.value for each in best)
    everything = best_strategies(advice.options, 99)
    assert len({each.name for each in everything}) == len(everything)
    # On four nodes every dense layer is quicker added up, so `sums or factors` is the same as `sums`.
    assert "sums or factors" not in [each.name for each in everything if each.nodes == 4]


def test_what_is_tried_is_short_and_otherwise_what_was_asked(advice: Advice) -> None:
    best = best_strategies(advice.options, BEST)
    asked = question(momentum=0.9, meet_every=50)
    trials = expand(short_run(asked, advice.batch, best, 10))
    assert [(trial.id, trial.nodes) for trial in trials] == [
        ("n04-r1-best1_average_every_epoch", 4),
        ("n04-r1-best2_average_every_17_steps", 4),
        ("n04-r1-best3_sums", 4),
    ]
    first, second, third = (trial.program.effective(trial.parameters) for trial in trials)
    for parameters in (first, second, third):
        assert (parameters["model"], parameters["momentum"], parameters["validation"]) == ("lenet5", 0.9, False)
        assert (parameters["epochs"], parameters["limit"]) == (EPOCHS, 10 * 64 * 4)
    assert (first["cadence"], second["meet_every"], third["rule"]) == ("epoch", 17, None)
    assert third["dense_gradients"] == "sum"


def tried(advice: Advice, *measured: float | None) -> TriedRun:
    found = [
        Tried(option, 0.1, seconds)
        for option, seconds in zip(best_strategies(advice.options, BEST), measured, strict=True)
    ]
    return TriedRun(RunPaths(Path("results/advice/x")), 10, tuple(found))


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ((0.11, 0.12, 0.2), "average every epoch on 4 nodes is the quickest, as expected; seconds a step are off by 20%"),
        ((0.2, 0.1, 0.3), "average every 17 steps on 4 nodes is the quickest, where average every epoch"),
        ((None, 0.05, None), "average every 17 steps on 4 nodes is the quickest, as expected; seconds a step are off by 50%"),
        ((None, None, None), "none of them could be run"),
    ],
)  # fmt: skip
def test_the_sentence_says_how_far_off_it_was(advice: Advice, measured: tuple[float | None, ...], words: str) -> None:
    run = tried(advice, *measured)
    assert words in run.sentence()
    assert run.failed is (None in measured)


def test_a_curve_is_taken_where_the_training_is_the_same(advice: Advice) -> None:
    curves = known_curves(find_program("train.py"), SUBJECT, advice.options, ACCURACY, 0.98)
    assert curves.accuracy == 0.98
    known = {name for name, _ in curves.steps}
    # What computes the same has one curve; what averages has none here, and one node's batch is another.
    assert {"sums", "sums or factors", "servers, one a node"} <= known
    assert not known & {"average every epoch", "average every 17 steps", "sums as bfloat16", "never meet"}
    assert {nodes for _, nodes in curves.steps} <= {1, 2, 4}
    assert curves.steps["sums", 4] == curves.steps["servers, one a node", 4]
    sums = next(each for each in advice.options if (each.name, each.nodes) == ("sums", 4))
    assert curves.seconds(sums) == pytest.approx(curves.steps["sums", 4] * sums.step_seconds)
    assert curves.seconds(sums, 2.0) == 2 * curves.steps["sums", 4]
    other = next(each for each in advice.options if each.name == "average every epoch")
    assert curves.seconds(other) is None
    found = curves.quickest(advice.options)
    assert found
    assert found[0] == min(seconds for each in advice.options if (seconds := curves.seconds(each)) is not None)


def test_an_accuracy_that_was_never_reached_takes_for_ever(advice: Advice) -> None:
    curves = Curves(0.999, "run", {("sums", 4): math.inf})
    assert curves.quickest(advice.options) is None


@pytest.mark.parametrize(
    ("values", "run", "says"),
    [
        ({**SUBJECT, "batch_size": 7}, ACCURACY, "has no trials of the same training"),
        (SUBJECT, ACCURACY.with_name("scaling"), "were not validated"),
        (SUBJECT, ACCURACY.with_name("nowhere"), "is no run directory"),
    ],
)
def test_a_run_without_the_curve_is_refused(advice: Advice, values: dict[str, Value], run: Path, says: str) -> None:
    with pytest.raises(BadInputError, match=says) as refused:
        known_curves(find_program("train.py"), values, advice.options, run, None)
    assert refused.value.remedy
