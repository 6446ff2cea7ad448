"""Intervals of medians and of ratios: of what, how sure, and the same every time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.analysis.statistics.intervals import Estimate, draw_medians, estimate, interval_of_draws, ratio


def values(*numbers: float) -> np.ndarray:
    return np.array(numbers)


def test_of_three_values_the_interval_is_their_range() -> None:
    assert estimate(values(3.0, 1.0, 2.0)) == Estimate(2.0, 1.0, 3.0, 3)


def test_one_value_has_no_interval_and_none_is_unknown() -> None:
    one, none = estimate(values(2.0)), estimate(values(math.nan))
    assert (one.value, one.has_interval) == (2.0, False)
    assert math.isnan(none.value)


def test_the_same_values_give_the_same_interval() -> None:
    numbers = np.random.default_rng(1).normal(10, 1, 9)
    assert estimate(numbers) == estimate(numbers)


def test_the_interval_holds_the_true_median_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    held = 0
    for _ in range(300):
        low, high = interval_of_draws(draw_medians(random.normal(0.0, 1.0, 15)))
        held += low <= 0 <= high
    assert 0.90 <= held / 300 <= 1.0


def test_what_was_never_reached_is_a_value() -> None:
    found = estimate(values(1.0, 2.0, math.inf))
    assert (found.value, found.low, found.high) == (2.0, 1.0, math.inf)


def test_ratios_are_of_neighbours_in_time() -> None:
    # Each repeat is twice as slow as the one before; in every one of them the first takes three times as long.
    slow, fast = {1: 3.0, 2: 6.0, 3: 12.0}, {1: 1.0, 2: 2.0, 3: 4.0}
    assert ratio(slow, fast) == Estimate(3.0, 3.0, 3.0, 3)


def test_without_common_repeats_the_medians_are_compared() -> None:
    found = ratio({1: 4.0, 2: 4.0}, {3: 1.0, 4: 2.0, 5: 4.0})
    assert found.value == 2.0
    assert (found.low, found.high) == (1.0, 4.0)
    assert not ratio({1: 4.0}, {2: 2.0}).has_interval


@pytest.mark.parametrize(
    ("one", "other", "above"),
    [
        (Estimate(3.0, 2.9, 3.1), Estimate(2.0, 1.9, 2.1), True),
        (Estimate(3.0, 2.0, 3.1), Estimate(2.0, 1.9, 2.1), False),
        (Estimate(3.0), Estimate(2.0), False),
        (Estimate(3.0, 2.9, 3.1), Estimate(2.0), False),
    ],
)
def test_greater_is_only_what_does_not_overlap(one: Estimate, other: Estimate, above: bool) -> None:
    assert one.is_above(other) is above
