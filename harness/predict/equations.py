"""The equations of a fit: a row a measurement, and a row for what is believed of each cost before. Pure.

How much of the wire's time hides behind computing is not linear, and few sizes hardly tell it. So the equations are solved for
each of HIDDEN, and each solution counts as much as it is plausible: Bayesian model averaging (Hoeting and others, Statistical
Science 14, 1999), with equal weights before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.predict.model import Conditions, Point, Traffic, cost_terms, shown_seconds, step_seconds, wire_seconds
from harness.predict.solve import Array, bounded_least_squares

# How far measured steps lie from the model before more is known, and the least and most that is believed of them.
MEASURED_SPREAD = 0.03
_LEAST_SPREAD, _MOST_SPREAD = 0.001, 0.1
_ROUNDS = 3
HIDDEN = (0.0, 0.25, 0.5)
"""Of computing; backward, behind which the first gradients may travel, is about half of it."""
# What is believed of computing: its own measured time, or where nothing tells it from waiting the whole step.
_OWN_SPREAD, _UNTOLD_SPREAD = 0.1, 0.3
# Phases seldom fill a link: the same sweep on 10 and 20 Mbit/s paid 1.1 to 1.3 times the phased wire time.
_EXPOSED, _EXPOSED_SPREAD, _MOST_EXPOSED = 1.0, 0.5, 1.5
_LEAST_COMPUTE = 1e-3


@dataclass(frozen=True)
class Equations:
    """Weighted rows of measurements and then of beliefs, and their solution with one of HIDDEN.

    `matrix` is rows x 5, `measured` and `beliefs` are what its rows should give, `costs` are 6 (model.COSTS); `spread` is what
    a measurement's row is weighted with.
    """

    matrix: Array
    measured: Array
    beliefs: Array
    hidden: float
    upper: Array
    least_image_seconds: float
    spread: float
    costs: Array

    def disturbed(self, factors: Array, shifts: Array) -> Array:
        """Solutions with the measurements multiplied and the beliefs moved.

        Args:
            factors: measurements x cases, float64, no unit.
            shifts: beliefs x cases, float64, in units of each belief's spread.

        Returns:
            6 x cases, float64, units as model.COSTS has them.
        """
        values = np.vstack([self.measured[:, None] * factors, self.beliefs[:, None] + shifts])
        return _solution(self.matrix, values, self.upper, self.hidden, self.least_image_seconds)

    @property
    def misfit(self) -> tuple[float, float]:
        """Squares of what is left of the measurements, relative, and of the beliefs, in their spreads."""
        left = self.matrix @ self.costs[:-1] - np.concatenate([self.measured, self.beliefs])
        own = len(self.measured)
        return float(np.sum((left[:own] * self.spread) ** 2)), float(np.sum(left[own:] ** 2))


@dataclass(frozen=True)
class Solved:
    """The equations for each of HIDDEN; `weights`, together 1: how plausible each is."""

    traffic: Traffic
    equations: tuple[Equations, ...]
    weights: Array

    @property
    def costs(self) -> Array:
        """The costs by each of the equations.

        Returns:
            6 x equations, float64, units as model.COSTS has them.
        """
        return np.stack([one.costs for one in self.equations], axis=1)

    def seconds(self, nodes: Array, conditions: Conditions) -> Array:
        """How long a step takes.

        Args:
            nodes: (points,) float64, count.
            conditions: under which.

        Returns:
            (points,) float64, s.
        """
        return weighted_seconds(self.costs, self.weights, nodes, self.traffic, conditions)


def weighted_seconds(costs: Array, weights: Array, nodes: Array, traffic: Traffic, conditions: Conditions) -> Array:
    """The weighted geometric mean of the cases' steps.

    Args:
        costs: 6 x cases, float64, units as model.COSTS has them.
        weights: (cases,) float64, together 1, no unit.
        nodes: (points,) float64, count.
        traffic: what a step moves.
        conditions: under which.

    Returns:
        (points,) float64, s.
    """
    mean: Array = np.exp(np.log(step_seconds(costs, nodes, traffic, conditions)) @ weights)
    return mean


def solve(points: Sequence[Point], traffic: Traffic, link_bits_per_second: float | None) -> Solved:
    """Fit the costs to the points."""
    wire = wire_seconds(_column(points, "nodes"), traffic, link_bits_per_second)
    hidden = HIDDEN if np.any(wire > 0) else HIDDEN[:1]
    equations = tuple(_with_hidden(each, points, traffic, link_bits_per_second) for each in hidden)
    spread = min(one.spread for one in equations)
    misfits = np.array([measured / spread**2 + believed for measured, believed in (one.misfit for one in equations)])
    weights = np.exp(-(misfits - misfits.min()) / 2)
    return Solved(traffic, equations, weights / weights.sum())


def _with_hidden(hidden: float, points: Sequence[Point], traffic: Traffic, link: float | None) -> Equations:
    """Fit, and weigh the measurements against the beliefs by how well they then agree with the model."""
    nodes, batch, seconds = (_column(points, name) for name in ("nodes", "batch", "step_seconds"))
    first = min(points, key=lambda point: (point.nodes, point.batch))
    own = first.own_seconds or first.step_seconds
    own_spread = _OWN_SPREAD if first.own_seconds else _UNTOLD_SPREAD
    least = _LEAST_COMPUTE * first.step_seconds / first.batch
    priors, beliefs = _priors(points, first.batch, own, own_spread)
    # With one batch size nothing tells a step's fixed cost from its images': all counts as the images'.
    several_batches = len(set(np.round(batch))) > 1
    upper = np.array([np.inf, np.inf if several_batches else 0.0, np.inf, np.inf, _MOST_EXPOSED])
    spread, freedom = MEASURED_SPREAD, len(points) - int(np.sum(upper > 0))
    paid, wire, computing = cost_terms(nodes, batch), wire_seconds(nodes, traffic, link), own * batch / first.batch
    for _ in range(_ROUNDS):
        terms = np.column_stack([paid, shown_seconds(wire, hidden, computing)]) / seconds[:, None]
        matrix, measured = np.vstack([terms / spread, priors]), np.full(len(points), 1 / spread)
        costs = _solution(matrix, np.concatenate([measured, beliefs])[:, None], upper, hidden, least)[:, 0]
        found = Equations(matrix, measured, beliefs, hidden, upper, least, spread, costs)
        computing = costs[0] * batch + costs[1]
        if freedom >= 1:
            residual = float(np.sqrt(np.sum((terms @ costs[:-1] - 1) ** 2) / freedom))
            spread = min(max(residual, _LEAST_SPREAD), _MOST_SPREAD)
    return found


def _solution(matrix: Array, values: Array, upper: Array, hidden: float, least_image_seconds: float) -> Array:
    """The costs, 6 x cases, with an image that takes some time at least: of bad measurements a fit can make none at all."""
    costs = bounded_least_squares(matrix, values, upper)
    image = np.maximum(costs[:1], least_image_seconds)
    return np.vstack([image, costs[1:], np.full_like(image, hidden)])


def _priors(points: Sequence[Point], batch: float, own: float, own_spread: float) -> tuple[Array, Array]:
    """A row a prior in units of its spread, and what it believes: computing takes `own` seconds with this batch, messages may
    cost anything, all of the wire's phased time shows.
    """
    longest = max(point.step_seconds for point in points)
    peers = max(max(point.nodes for point in points) - 1, 1)
    rows = [
        [batch / (own_spread * own), 1 / (own_spread * own), 0, 0, 0],
        [0, 1 / own, 0, 0, 0],
        [0, 0, 1 / longest, 0, 0],
        [0, 0, 0, peers / longest, 0],
        [0, 0, 0, 0, 1 / _EXPOSED_SPREAD],
    ]
    return np.array(rows), np.array([1 / own_spread, 0, 0, 0, _EXPOSED / _EXPOSED_SPREAD])


def _column(points: Sequence[Point], name: str) -> Array:
    return np.array([getattr(point, name) for point in points], dtype=float)
