"""Rates and times left, of a trial and of a sweep."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from launch_parts import CLUSTER, NODES, trial
from rich.console import Console

from harness.contract.events import Event
from harness.experiment.parameter import Parameter
from harness.experiment.plan import Trial
from harness.experiment.program import Program
from harness.launch.placement import Rank
from harness.sweep import progress as progress_module
from harness.sweep.pace import Costs, Pace, clock
from harness.sweep.progress import Progress


def test_the_time_left_of_a_trial_follows_its_share() -> None:
    pace = Pace(4)
    pace.ready(100.0)
    assert pace.seconds_left(101.0) is None
    for second in range(1, 6):
        pace.progress(100.0 + second, 1, 10 * second, 100)
    assert pace.share == pytest.approx(0.125)
    assert pace.steps_per_second == pytest.approx(10.0)
    assert pace.seconds_left(105.0) == pytest.approx(35.0)
    assert pace.seconds_left(108.0) == pytest.approx(32.0)  # it goes on while nothing is heard
    assert pace.seconds_left(999.0) == 0.0
    pace.finished(112.0, 1)
    assert (pace.share, pace.step) == (0.25, None)
    assert pace.seconds_left(112.0) == pytest.approx(36.0)


def test_the_rate_is_of_the_last_seconds_of_one_epoch() -> None:
    pace = Pace(2)
    for second in range(20):
        pace.progress(float(second), 1, second if second < 10 else 5 * second, 1000)
    assert pace.steps_per_second == pytest.approx(5.0)
    pace.progress(60.0, 2, 1, 1000)  # validation is no slow step
    assert pace.steps_per_second == pytest.approx(5.0)
    pace.progress(61.0, 2, 3, 1000)
    assert pace.steps_per_second == pytest.approx(2.0)


def test_epochs_of_an_earlier_start_are_not_this_ones_pace() -> None:
    pace = Pace(10)
    pace.ready(0.0)
    pace.progress(1.0, 6, 50, 100)
    assert pace.share == pytest.approx(0.55)
    assert pace.seconds_left(1.0) == pytest.approx(9.0)


@pytest.mark.parametrize(("epoch", "step", "steps"), [(1e15, -1e15, 1e15), (-1e15, 1e15, 0), (0, 0, -1e15)])
def test_numbers_that_cannot_be_so_break_nothing(epoch: float, step: float, steps: float) -> None:
    pace = Pace(3)
    for moment in (5.0, 5.0, 3.0, 6.0):
        pace.progress(moment, epoch, step, steps)
        pace.finished(moment, epoch)
        assert 0 <= pace.share <= 1
        assert (pace.seconds_left(7.0) or 0.0) >= 0


def test_a_trial_is_expected_to_take_what_its_repeats_took_else_those_like_it() -> None:
    costs = Costs()
    assert costs.expected("n01-r1-fast") is None
    costs.add("n01-r1-fast", 10.0)
    costs.add("n01-r1-slow", 90.0)
    costs.add("n02-r1-slow", 30.0)
    assert costs.expected("n01-r2-fast") == 10.0
    assert costs.expected("n01-r2-other") == 50.0
    assert costs.expected("n04-r1-fast") == pytest.approx(130 / 3)
    costs.add("n01-r1-fast", 20.0)  # another attempt at the same
    assert costs.expected("n01-r2-fast") == 20.0
    assert costs.expected("n04-r1-fast") == pytest.approx(140 / 3)
    assert costs.rest("n01-r2-fast", 5.0, None) == 15.0
    assert costs.rest("n01-r2-fast", 50.0, None) == 0.0
    assert costs.rest("n01-r2-fast", 5.0, 3.0) == 3.0


def test_durations_are_minutes_and_seconds() -> None:
    assert [clock(seconds) for seconds in (0.4, 59.6, 187, 3727)] == ["0:00", "1:00", "3:07", "1:02:07"]


BATCHED = Program(
    command="p.py", events=True, epochs="rounds", batch="batch",
    parameters={name: Parameter(type="int", default=1, help="x") for name in ("rounds", "batch")},
)  # fmt: skip


def shown_while(trials: list[Trial], dilation: float, monkeypatch: pytest.MonkeyPatch) -> str:
    """The live line after five seconds of the first trial, in which its two workers made ten steps a second."""
    now = 1000.0
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now)
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    rank = Rank("worker", 0, NODES[0], (), {})
    with Progress(console, trials, cluster=replace(CLUSTER, time_dilation=dilation)) as progress:
        progress.begin(trials[0], 1)
        progress.event(rank, Event("ready", {"rank": 0, "workers": 2}))
        for second in range(1, 6):
            now = 1000.0 + second
            progress.event(rank, Event("progress", {"rank": 0, "epoch": 1, "step": 10 * second, "steps": 100}))
        assert progress._live is not None
        return str(progress._live.get_renderable())


def test_the_terminal_tells_rate_and_time_left_of_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Trial("n02-r1", 2, 1, "", BATCHED, {"rounds": 2, "batch": 8}, {})
    two = Trial("n02-r2", 2, 2, "", BATCHED, {"rounds": 2, "batch": 8}, {})
    line = shown_while([one, two], 1.0, monkeypatch)
    assert line == "n02-r1: epoch 1/2, step 50/100, 160 images/s, 0:15 left of it"
    assert "640 images/s" in shown_while([one, two], 4.0, monkeypatch)
    assert shown_while([one], 1.0, monkeypatch).endswith("160 images/s  (about 0:15 left)")
    assert "10 steps/s" in shown_while([trial(2)], 1.0, monkeypatch)
