"""Rows: medians, ranges and bars."""

from __future__ import annotations

import pytest

from tests.bench.row import Row, at_least, at_most, half_width_row, ratio_row


def test_a_row_is_its_median_and_range() -> None:
    row = Row("speed", "images/s", (1000.0, 500.0, 700.0), at_least(600))
    assert row.median == 700
    assert row.measured() == "700 images/s (500-1000)"
    assert row.held


def test_a_bar_is_held_at_its_own_value() -> None:
    assert Row("x", "s", (3.0,), at_most(3)).held
    assert not Row("x", "s", (3.01,), at_most(3)).held
    assert Row("x", "s", (3.0,)).held is None


def test_what_was_not_measured_holds_nothing() -> None:
    row = Row("x", "s", bar=at_most(3))
    assert row.held is None
    assert row.measured() == "not measured"


def test_a_ratio_is_formed_within_each_repeat() -> None:
    row = ratio_row("kept", {1: 50.0, 2: 90.0, 3: 1.0}, {1: 100.0, 2: 100.0})
    assert list(row.values) == [0.5, 0.9]
    assert row.median == pytest.approx(0.7)


def test_the_interval_of_a_ratio_is_a_row_of_its_own() -> None:
    kept = ratio_row("kept", {1: 80.0, 2: 90.0, 3: 100.0}, dict.fromkeys((1, 2, 3), 100.0))
    row = half_width_row(kept, at_most(5))
    assert row.median == pytest.approx(100 * 0.1 / 0.9)
    assert row.held is False
    assert half_width_row(Row("kept", "", (0.9,)), at_most(5)).median is None
