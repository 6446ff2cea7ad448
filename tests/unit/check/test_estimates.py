"""What a program's own estimator is asked, and what becomes of its answers, whatever these are."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.check.estimates import Estimate, Question, estimates
from harness.errors import BadInputError
from harness.experiment.catalog import find_program
from harness.paths import PROGRAMS

GIB = 1 << 30
TRAIN = find_program("train.py").estimator


def asked(*arguments: str, workers: int = 2, memory: int | None = GIB, **ranks: int) -> Estimate:
    assert TRAIN
    (answer,) = estimates(TRAIN, [Question(arguments, {"worker": workers, **ranks}, memory)])
    return answer


def estimator(directory: Path, code: str) -> Path:
    path = directory / "estimate.py"
    path.write_text(code, encoding="utf-8")
    return path


def test_a_trial_is_estimated_without_its_data() -> None:
    answer = asked("--model=lenet5", "--dataset=mnist", "--kvstore=allreduce", workers=11)
    assert answer.memory
    assert answer.traffic
    assert (answer.fault, answer.steps, answer.parameters) == ("", 60_000 // (64 * 11), 61_706)
    assert (answer.memory.fits, answer.memory.instead) == (True, ())
    assert answer.memory.text.startswith("lenet5 with 64 images at once needs about")
    assert answer.traffic.sent_bytes == pytest.approx(448_771, rel=1e-5)


def test_what_does_not_fit_comes_with_what_does() -> None:
    large = ["--model=alexnet_32", "--dataset=patches", "--kvstore=none"]
    answer = asked(*large, "--batch-size=2048")
    assert answer.memory
    assert not answer.memory.fits
    batch, pieces = (next(iter(way.items())) for way in answer.memory.instead)
    assert (batch[0], pieces[0]) == ("batch_size", "accumulate")
    for again in ([f"--batch-size={batch[1]}"], ["--batch-size=2048", f"--accumulate={pieces[1]}"]):
        found = asked(*large, *again).memory
        assert found
        assert found.fits
    unknown = asked(*large, "--batch-size=2048", memory=None).memory
    assert unknown
    assert unknown.fits


def test_servers_are_counted_as_they_are_placed() -> None:
    one = asked("--kvstore=dist_sync", "--dataset=mnist", workers=4, server=1).traffic
    every = asked("--kvstore=dist_sync", "--dataset=mnist", workers=4, server=4).traffic
    assert one
    assert every
    assert one.phased_bytes > 3 * every.phased_bytes


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model=lenet5", "--dataset=cifar10"],
        ["--model=none"],
        ["--batch-size=0"],
        ["--dataset=digits", "--batch-size=4000"],
        ["--engine=torch", "--kvstore=dist_sync"],
    ],
)
def test_contradictions_are_told_with_a_remedy(arguments: list[str]) -> None:
    answer = asked(*arguments)
    assert (answer.memory, answer.traffic) == (None, None)
    assert answer.fault
    assert answer.remedy


def test_nothing_is_run_where_nothing_is_asked() -> None:
    assert estimates(PROGRAMS / "nowhere.py", []) == []


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise SystemExit('no idea')", "no idea"),
        ("print('hello')", "answers what no estimates are: Expecting value"),
        ("print('{}')", "answers what no estimates are: Input should be a valid list"),
        ("print('[{}, []]')", "answers what no estimates are: 1: Input should be"),
        ("print('[' * 100000)", "answers what no estimates are"),
        (
            'print(\'[{"memory": {"text": "x", "nbytes": -1, "fits": true}}]\')',
            "are: 0.memory.nbytes: Input should be gr",
        ),
        (
            'print(\'[{"memory": {"text": "x", "nbytes": NaN, "fits": true}}]\')',
            "are: 0.memory.nbytes: Input should be a f",
        ),
        ('print(\'[{"steps": 1\' + "0" * 400 + "}]")', "answers what no estimates are"),
        ("print('[]')", "was asked 1 questions, and answers 0"),
    ],
)
def test_an_estimator_that_answers_otherwise_is_named(tmp_path: Path, code: str, says: str) -> None:
    with pytest.raises(BadInputError, match=says) as caught:
        estimates(estimator(tmp_path, code), [Question((), {})])
    assert "estimate.py" in caught.value.message
    assert caught.value.remedy


def test_a_program_of_one_s_own_may_say_as_much_as_it_knows(tmp_path: Path) -> None:
    (answer,) = estimates(estimator(tmp_path, 'print(\'[{"steps": 3, "more": 1}]\')'), [Question((), {})])
    assert (answer.steps, answer.memory, answer.traffic) == (3, None, None)
