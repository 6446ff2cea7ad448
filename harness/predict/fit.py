"""Fit the cost model to measured cluster sizes, and test it on sizes it has not seen. Pure.

The sizes of a run are few and some costs grow alike (from 1 to n nodes the wire's time is almost a step, as a fixed message
cost is). So each fit also gets weak prior knowledge (`equations`), which decides only what the measurements leave open, and
each range comes from fits to disturbed measurements and disturbed priors: what is open shows as a wide range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import BadInputError
from harness.predict.equations import MEASURED_SPREAD, Solved, solve, weighted_seconds
from harness.predict.model import Conditions, Point, Traffic, step_seconds, traffic_terms
from harness.predict.solve import Array, bounded_least_squares

# Taken where no size can be held out.
ASSUMED_SPREAD = 0.10
_BYTES_SPREAD = 0.01
# Of the message costs, how much queues and lost packets may be: none to all, as one link rate cannot tell.
QUEUED = 0.5
SAMPLES = 300
RANGE_PERCENTILES = (10.0, 90.0)
_SEED = 20


@dataclass(frozen=True)
class HeldOut:
    """A cluster size predicted by a fit to the other sizes; `outside` when it lies beyond them."""

    nodes: int
    measured_seconds: float
    predicted_seconds: float
    outside: bool

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        return self.predicted_seconds / self.measured_seconds - 1


@dataclass(frozen=True)
class Fit:
    """A fitted model. `samples` 6 x SAMPLES (model.COSTS) are as plausible as it; `factors` their residuals.

    `queued` is in each sample the share of the message costs that is really the link's, which one link rate cannot tell.
    """

    solved: Solved
    link_bits_per_second: float | None
    samples: Array
    factors: Array
    queued: Array
    held_out: tuple[HeldOut, ...]
    spread: float

    @property
    def traffic(self) -> Traffic:
        """What a step moves."""
        return self.solved.traffic

    @property
    def costs(self) -> Array:
        """The fitted costs, weighted means.

        Returns:
            (6,) float64, units as model.COSTS has them.
        """
        return self.solved.costs @ self.solved.weights

    def seconds(self, nodes: Array, conditions: Conditions) -> Array:
        """How long a step takes.

        Args:
            nodes: (points,) float64, count.
            conditions: under which.

        Returns:
            (points,) float64, s.
        """
        costs = self._under(self.solved.costs, QUEUED, conditions)
        return weighted_seconds(costs, self.solved.weights, nodes, self.traffic, conditions)

    def sampled_seconds(self, nodes: Array, conditions: Conditions) -> Array:
        """How long a step takes in every sample.

        Args:
            nodes: (points,) float64, count.
            conditions: under which.

        Returns:
            points x SAMPLES, float64, s.
        """
        costs = self._under(self.samples, self.queued, conditions)
        return step_seconds(costs, nodes, self.traffic, conditions) * self.factors

    def _under(self, costs: Array, queued: float | Array, conditions: Conditions) -> Array:
        """The costs under another link: of the message costs the share that waits in the link's queues follows its rate."""
        if not (self.link_bits_per_second and conditions.link_bits_per_second):
            return costs
        slower = self.link_bits_per_second / conditions.link_bits_per_second
        return np.vstack([costs[:2], costs[2:4] * (1 - queued + queued * slower), costs[4:]])


def fit_points(points: Sequence[Point], link_bits_per_second: float | None) -> Fit:
    """Fit the model to the points of one series.

    Args:
        points: what was measured, times in s.
        link_bits_per_second: the link they were measured on, None where it is not known: its cost is then part of the message
            costs.

    Raises:
        BadInputError: there are fewer than two cluster sizes.
    """
    sizes = sorted({point.nodes for point in points})
    if len(sizes) < 2:
        raise BadInputError(
            f"a cost model needs at least 2 cluster sizes, there {'is' if sizes else 'are'} {len(sizes)}",
            "sweep more of them, e.g. --nodes 1,2,4",
        )
    held_out = tuple(_hold_out(points, size, sizes, link_bits_per_second) for size in sizes) if len(sizes) > 2 else ()
    errors = np.log1p([one.error for one in held_out])
    spread = max(MEASURED_SPREAD, float(np.sqrt(np.mean(errors**2)))) if held_out else ASSUMED_SPREAD
    solved = solve(points, fit_traffic(points), link_bits_per_second)
    noise = np.random.default_rng(_SEED)
    return Fit(
        solved=solved,
        link_bits_per_second=link_bits_per_second,
        samples=_samples(solved, spread, noise),
        factors=np.exp(spread * noise.standard_normal(SAMPLES)),
        queued=noise.uniform(0.0, 1.0, SAMPLES),
        held_out=held_out,
        spread=spread,
    )


def _samples(solved: Solved, spread: float, noise: np.random.Generator) -> Array:
    """Solutions of disturbed equations, 6 x SAMPLES, of each equations as many as they are plausible."""
    first = solved.equations[0]
    # A step may take twice or half as long, but never less than nothing.
    factors = np.exp(spread * noise.standard_normal((len(first.measured), SAMPLES)))
    shifts = noise.standard_normal((len(first.beliefs), SAMPLES))
    ends = np.round(np.cumsum(solved.weights) * SAMPLES).astype(int)
    shares = np.split(np.arange(SAMPLES), ends[:-1])
    return np.hstack(
        [one.disturbed(factors[:, mine], shifts[:, mine]) for one, mine in zip(solved.equations, shares, strict=True)]
    )


def fit_traffic(points: Sequence[Point]) -> Traffic:
    """How many bytes are placed evenly and how many whole on one node, from what the busiest node sent."""
    counts = {point.shards for point in points if point.nodes > 1}
    everywhere = all(point.shards == point.nodes for point in points)
    servers = None if everywhere else max(counts, default=1)
    seen = [point for point in points if point.nodes > 1 and point.busiest_bytes]
    if not seen:
        return Traffic(servers=servers)
    sent = np.array([point.busiest_bytes for point in seen], dtype=float)
    nodes = np.array([point.nodes for point in seen], dtype=float)
    terms = np.stack(traffic_terms(nodes, np.array([point.shards for point in seen], dtype=float)), axis=1)
    # The last row: where two nodes are all that was seen, bytes count as placed evenly.
    rows = np.vstack([terms / sent[:, None] / _BYTES_SPREAD, [0.0, 1 / sent.max()]])
    goal = np.append(np.full(len(seen), 1 / _BYTES_SPREAD), 0.0)
    even, whole = bounded_least_squares(rows, goal[:, None], np.full(2, np.inf))[:, 0]
    return Traffic(float(even), float(whole), servers)


def _hold_out(points: Sequence[Point], size: int, sizes: Sequence[int], link: float | None) -> HeldOut:
    rest, left_out = [p for p in points if p.nodes != size], [p for p in points if p.nodes == size]
    fitted = solve(rest, fit_traffic(rest), link)
    nodes = np.array([float(size)])
    predicted = [fitted.seconds(nodes, Conditions(point.batch, link))[0] for point in left_out]
    measured = [point.step_seconds for point in left_out]
    # Of several batches at one size the one that is predicted worst stands for the size.
    worst = max(range(len(left_out)), key=lambda i: abs(predicted[i] / measured[i] - 1))
    return HeldOut(size, measured[worst], float(predicted[worst]), size in (sizes[0], sizes[-1]))
