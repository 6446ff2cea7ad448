"""Fit the cost model to measured cluster sizes, and test it on sizes it has not seen. Pure.

The sizes of a run are few and some costs grow alike (from 1 to n nodes the wire's time is almost a step, as a fixed message
cost is). So each fit also gets weak prior knowledge, one row a cost, which decides only what the measurements leave open,
and each range comes from fits to disturbed measurements and disturbed priors: what is open shows as a wide range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import BadInputError
from harness.predict.model import Conditions, Traffic, cost_terms, step_seconds, traffic_terms
from harness.predict.solve import Array, bounded_least_squares

# How far measured steps lie from the model before more is known, and the least and most that is believed of them.
MEASURED_SPREAD = 0.03
_LEAST_SPREAD, _MOST_SPREAD = 0.001, 0.1
_ROUNDS = 3
# Taken where no size can be held out.
ASSUMED_SPREAD = 0.10
_BYTES_SPREAD = 0.01
_OWN_SPREAD = 0.3
# Phases seldom fill a link: the same sweep on 10 and 20 Mbit/s paid 1.1 to 1.3 times the phased wire time.
_EXPOSED, _EXPOSED_SPREAD, _MOST_EXPOSED = 1.0, 0.5, 1.5
# Of the message costs, how much queues and lost packets may be: none to all, as one link rate cannot tell.
QUEUED = 0.5
_LEAST_COMPUTE = 1e-3
SAMPLES = 300
RANGE_PERCENTILES = (10.0, 90.0)
_SEED = 20


@dataclass(frozen=True)
class Point:
    """One measured cluster size (and batch), medians over its trials.

    `own_seconds`: of a step, not waiting for the store; `busiest_bytes`: what the busiest node sends in a step. Both None
    where not measured. `shards`: nodes that serve parameters. `served`: a worker's values come from a server, which may work on
    the worker's own node.
    """

    nodes: int
    batch: float
    step_seconds: float
    own_seconds: float | None = None
    busiest_bytes: float | None = None
    shards: int = 1
    served: bool = False
    trials: int = 1


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
    """A fitted model. `costs` is 5 (model.COSTS); `samples` 5 x SAMPLES are as plausible; `factors` their residuals.

    `queued` is in each sample the share of the message costs that is really the link's, which one link rate cannot tell.
    """

    traffic: Traffic
    link_bits_per_second: float | None
    costs: Array
    samples: Array
    factors: Array
    queued: Array
    held_out: tuple[HeldOut, ...]
    spread: float

    def seconds(self, nodes: Array, conditions: Conditions) -> Array:
        """Seconds a step, for each number of nodes."""
        costs = self._under(self.costs[:, None], QUEUED, conditions)
        return step_seconds(costs, nodes, self.traffic, conditions)[:, 0]

    def sampled_seconds(self, nodes: Array, conditions: Conditions) -> Array:
        """Seconds a step in every sample: nodes x SAMPLES."""
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

    `link_bits_per_second` is the link they were measured on, None where it is not known: its cost is then part of the
    message costs. Raises BadInputError for fewer than two cluster sizes.
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
    system = _solve(points, link_bits_per_second)
    noise = np.random.default_rng(_SEED)
    measured, beliefs = system.values[: len(points)], system.values[len(points) :]
    # A step may take twice or half as long, but never less than nothing.
    factors = np.exp(spread * noise.standard_normal((len(measured), SAMPLES)))
    disturbed = np.vstack(
        [measured[:, None] * factors, beliefs[:, None] + noise.standard_normal((len(beliefs), SAMPLES))]
    )
    return Fit(
        traffic=system.traffic,
        link_bits_per_second=link_bits_per_second,
        costs=system.costs,
        samples=_taking_time(bounded_least_squares(system.matrix, disturbed, system.upper), points),
        factors=np.exp(spread * noise.standard_normal(SAMPLES)),
        queued=noise.uniform(0.0, 1.0, SAMPLES),
        held_out=held_out,
        spread=spread,
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
    fitted = _solve(rest, link)
    nodes = np.array([float(size)])
    predicted = [
        step_seconds(fitted.costs[:, None], nodes, fitted.traffic, Conditions(point.batch, link))[0, 0]
        for point in left_out
    ]
    measured = [point.step_seconds for point in left_out]
    # Of several batches at one size the one that is predicted worst stands for the size.
    worst = max(range(len(left_out)), key=lambda i: abs(predicted[i] / measured[i] - 1))
    return HeldOut(size, measured[worst], float(predicted[worst]), size in (sizes[0], sizes[-1]))


@dataclass(frozen=True)
class _System:
    """The weighted equations of a fit and their solution; `spread` is what a point's row is weighted with."""

    matrix: Array
    values: Array
    upper: Array
    spread: float
    traffic: Traffic
    costs: Array


def _solve(points: Sequence[Point], link: float | None) -> _System:
    """Fit, and weigh the measurements against the priors by how well they then agree with the model."""
    traffic = fit_traffic(points)
    nodes, batch, seconds = (_column(points, name) for name in ("nodes", "batch", "step_seconds"))
    terms = cost_terms(nodes, batch, traffic, link) / seconds[:, None]
    priors, beliefs = _priors(points)
    # With one batch size nothing tells a step's fixed cost from its images': all counts as the images'.
    several_batches = len(set(np.round(batch))) > 1
    upper = np.array([np.inf, np.inf if several_batches else 0.0, np.inf, np.inf, _MOST_EXPOSED])
    spread, freedom = MEASURED_SPREAD, len(points) - int(np.sum(upper > 0))
    for _ in range(_ROUNDS):
        matrix = np.vstack([terms / spread, priors])
        values = np.concatenate([np.full(len(points), 1 / spread), beliefs])
        costs = _taking_time(bounded_least_squares(matrix, values[:, None], upper), points)[:, 0]
        system = _System(matrix, values, upper, spread, traffic, costs)
        if freedom < 1:
            break
        residual = float(np.sqrt(np.sum((terms @ costs - 1) ** 2) / freedom))
        spread = min(max(residual, _LEAST_SPREAD), _MOST_SPREAD)
    return system


def _taking_time(costs: Array, points: Sequence[Point]) -> Array:
    """The costs, with an image that takes some time at least: of bad measurements a fit can make none at all."""
    first = _smallest(points)
    least = _LEAST_COMPUTE * first.step_seconds / first.batch
    return np.vstack([np.maximum(costs[:1], least), costs[1:]])


def _smallest(points: Sequence[Point]) -> Point:
    return min(points, key=lambda point: (point.nodes, point.batch))


def _priors(points: Sequence[Point]) -> tuple[Array, Array]:
    """A row a prior in units of its spread, and what it believes: computing takes what the smallest cluster spent not
    waiting, messages may cost anything, all of the wire's phased time shows.

    With a server, waiting says nothing of that: one worker alone waits for the server on its own node.
    """
    first = _smallest(points)
    computing = None if first.served else first.own_seconds
    own, longest = computing or first.step_seconds, max(point.step_seconds for point in points)
    peers = max(max(point.nodes for point in points) - 1, 1)
    rows = [
        [first.batch / (_OWN_SPREAD * own), 1 / (_OWN_SPREAD * own), 0, 0, 0],
        [0, 1 / own, 0, 0, 0],
        [0, 0, 1 / longest, 0, 0],
        [0, 0, 0, peers / longest, 0],
        [0, 0, 0, 0, 1 / _EXPOSED_SPREAD],
    ]
    return np.array(rows), np.array([1 / _OWN_SPREAD, 0, 0, 0, _EXPOSED / _EXPOSED_SPREAD])


def _column(points: Sequence[Point], name: str) -> Array:
    return np.array([getattr(point, name) for point in points], dtype=float)
