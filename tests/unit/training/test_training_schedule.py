from __future__ import annotations

import pytest
from training import schedule
from training.options.description import described


@pytest.mark.parametrize(("scaling", "expected"), [("none", 0.05), ("sqrt", 0.15), ("linear", 0.45)])
def test_scaling(scaling: str, expected: float) -> None:
    assert schedule.scaled(0.05, scaling, 9) == pytest.approx(expected)
    assert schedule.scaled(0.05, scaling, 1) == 0.05


def test_warmup_rises_linearly_to_the_target_and_stays() -> None:
    assert [schedule.at_step(0.4, step, 4) for step in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_without_warmup_the_first_step_has_the_whole_rate() -> None:
    assert schedule.at_step(0.4, 0, 0) == 0.4


def test_a_linear_decay_begins_where_it_is_told_and_ends_a_step_before_0() -> None:
    factors = [schedule.decay("linear", step, 8, 0.5) for step in range(8)]
    assert factors == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


def test_a_cosine_decay_is_half_a_wave() -> None:
    factors = [schedule.decay("cosine", step, 4) for step in range(4)]
    assert factors == pytest.approx([1, 0.853553, 0.5, 0.146447], rel=1e-5)
    assert schedule.decay("none", 3, 4) == 1


def test_the_described_decays_are_these() -> None:
    (decay,) = (each for each in described("train.py").parameters if each.name == "decay")
    assert decay.choices == schedule.DECAYS
