"""Least squares within bounds: against conditions that only the optimum meets, and against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from harness.predict.solve import bounded_least_squares


@pytest.mark.parametrize("seed", range(20))
def test_the_solution_meets_the_conditions_of_the_optimum(seed: int) -> None:
    random = np.random.default_rng(seed)
    matrix, values = random.standard_normal((9, 4)), random.standard_normal((9, 3))
    upper = np.array([np.inf, 0.2, np.inf, 0.0])
    found = bounded_least_squares(matrix, values, upper)
    assert np.all(found >= 0)
    assert np.all(found <= upper[:, None])
    slope = matrix.T @ (matrix @ found - values)
    inside = (found > 0) & (found < upper[:, None])
    assert slope[inside] == pytest.approx(0, abs=1e-9)
    at_zero = (found == 0) & (upper[:, None] > 0)
    assert np.all(slope[at_zero] >= -1e-9)
    assert np.all(slope[(found == upper[:, None]) & (upper[:, None] > 0)] <= 1e-9)


def test_without_active_bounds_it_is_plain_least_squares() -> None:
    matrix = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    found = bounded_least_squares(matrix, (matrix @ np.array([2.0, 3.0]))[:, None], np.full(2, np.inf))
    assert found[:, 0] == pytest.approx([2.0, 3.0])


def test_an_unknown_bounded_by_zero_is_left_out() -> None:
    matrix, values = np.eye(2), np.array([[1.0], [1.0]])
    assert list(bounded_least_squares(matrix, values, np.array([np.inf, 0.0]))[:, 0]) == [1.0, 0.0]
