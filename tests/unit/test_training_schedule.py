from __future__ import annotations

import pytest
from training import schedule


@pytest.mark.parametrize(("scaling", "expected"), [("none", 0.05), ("sqrt", 0.15), ("linear", 0.45)])
def test_scaling(scaling: str, expected: float) -> None:
    assert schedule.scaled(0.05, scaling, 9) == pytest.approx(expected)
    assert schedule.scaled(0.05, scaling, 1) == 0.05


def test_warmup_rises_linearly_to_the_target_and_stays() -> None:
    assert [schedule.at_step(0.4, step, 4) for step in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_without_warmup_the_first_step_has_the_whole_rate() -> None:
    assert schedule.at_step(0.4, 0, 0) == 0.4
