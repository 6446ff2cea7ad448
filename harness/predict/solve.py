"""Least squares within bounds, for a handful of unknowns and many right-hand sides. Pure."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def bounded_least_squares(matrix: Array, values: Array, upper: Array) -> Array:
    """The x with 0 <= x <= upper that brings `matrix @ x` closest to `values`, for every column of `values`.

    Exact: every choice of the unknowns that sit on a bound is tried, so the unknowns must be few (3^k choices).

    Args:
        matrix: rows x unknowns, float64, of full column rank; any units.
        values: rows x cases, float64; any units.
        upper: (unknowns,) float64, inf for no bound, 0 to leave an unknown out; units of the unknowns.

    Returns:
        unknowns x cases, float64, units of the unknowns.
    """
    unknowns, cases = matrix.shape[1], values.shape[1]
    best, least = np.zeros((unknowns, cases)), np.full(cases, np.inf)
    for fixed in product(*(_states(bound) for bound in upper)):
        found = _with_fixed(matrix, values, np.array(fixed))
        allowed = np.all((found >= 0) & (found <= upper[:, None]), axis=0)
        error = np.where(allowed, np.sum((matrix @ found - values) ** 2, axis=0), np.inf)
        better = error < least
        best[:, better], least[better] = found[:, better], error[better]
    return best


def _states(bound: float) -> tuple[float, ...]:
    """Where an unknown may be: on its lower bound, free (NaN), on its upper bound."""
    if bound == 0:
        return (0.0,)
    return (0.0, np.nan) if np.isinf(bound) else (0.0, np.nan, bound)


def _with_fixed(matrix: Array, values: Array, fixed: Array) -> Array:
    """The unconstrained solution in the unknowns that `fixed` leaves open (NaN)."""
    free = np.isnan(fixed)
    found = np.repeat(np.where(free, 0.0, fixed)[:, None], values.shape[1], axis=1)
    if free.any():
        found[free] = np.linalg.pinv(matrix[:, free]) @ (values - matrix @ found)
    return found
