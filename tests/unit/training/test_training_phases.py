"""The stopwatch: laps are disjoint, and what cannot be told is not made up."""

from __future__ import annotations

import time

import pytest
from training.reporting import phases
from training.reporting.phases import BACKWARD, DATA, FORWARD, PHASES, PULL, PUSH, UPDATE, WAIT, Phases


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(phases.time, "perf_counter", lambda: self.now)

    def after(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def told(watch: Phases) -> dict[str, float]:
    """What it tells, by phase; phases of no length left out."""
    named = {name.removesuffix("_seconds"): value for name, value in watch.seconds().items()}
    return {name: pytest.approx(value) for name, value in named.items() if value}


def test_laps_are_disjoint_and_waiting_is_taken_out_of_the_lap_it_falls_into(clock: Clock) -> None:
    watch = Phases(in_turns=True)
    for phase, seconds in ((DATA, 1.0), (FORWARD, 2.0), (BACKWARD, 3.0), (PUSH, 0.5)):
        clock.after(seconds)
        watch.compute(phase)
    clock.after(0.25)
    began = clock.now
    clock.after(4.0)
    watch.waited(began)
    clock.after(0.25)
    watch.lap(PULL)
    clock.after(9.0)
    watch.rest()
    clock.after(1.0)
    watch.lap(UPDATE)
    assert told(watch) == {DATA: 1, FORWARD: 2, BACKWARD: 3, PUSH: 0.5, WAIT: 4, PULL: 0.5, UPDATE: 1}


def test_with_a_threaded_engine_sampled_steps_say_how_the_lump_is_split(clock: Clock) -> None:
    watch = Phases(in_turns=False, hidden=(PUSH,))
    clock.after(5.0)
    watch.lap(DATA)
    for step in range(60):
        watch.begin_step(step, 60)
        if step == 21:
            clock.after(1.0)  # the engine's thread is woken late: it must not make forward look long
        for phase, seconds in ((FORWARD, 0.1), (BACKWARD, 0.3)):
            clock.after(seconds if watch.sampled else 0.2)
            watch.compute(phase)
        clock.after(0.5)
        watch.lap(WAIT)
    assert told(watch) == {DATA: 5, FORWARD: 6.25, BACKWARD: 18.75, WAIT: 30}
    assert watch.seconds()["push_seconds"] is None


def test_what_was_never_sampled_is_not_made_up(clock: Clock) -> None:
    watch = Phases(in_turns=False)
    clock.after(1.0)
    watch.compute(FORWARD)
    assert [name for name, value in watch.seconds().items() if value is None] == [
        "forward_seconds", "backward_seconds", "update_seconds",
    ]  # fmt: skip


@pytest.mark.parametrize(("steps", "sampled"), [(1, [0]), (6, [1]), (45, [1, 21, 41])])
def test_few_steps_are_sampled_and_not_the_first(steps: int, sampled: list[int]) -> None:
    watch = Phases(in_turns=False)
    assert [step for step in range(steps) if watch.begin_step(step, steps)] == sampled
    assert not any(Phases(in_turns=True).begin_step(step, steps) for step in range(steps))


def test_a_step_s_laps_cost_less_than_a_tenth_of_a_millisecond() -> None:
    watch = Phases(in_turns=True)
    began = time.process_time()
    for _ in range(1000):
        for phase in PHASES * 4:
            watch.lap(phase)
    assert (time.process_time() - began) / 1000 < 1e-4
