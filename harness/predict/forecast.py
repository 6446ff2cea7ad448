"""What a fitted model says about cluster sizes, links and batches that were not measured. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.predict.equations import MEASURED_SPREAD
from harness.predict.fit import RANGE_PERCENTILES, Fit, fit_points
from harness.predict.measurements import Measured
from harness.predict.model import Conditions, Point
from harness.predict.question import Question
from harness.predict.solve import Array

LINK_FACTOR, BATCH_FACTOR = 10, 4


@dataclass(frozen=True)
class Range:
    """A value, and between what the fits to disturbed measurements put it (RANGE_PERCENTILES)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One cluster size under one scenario; `gain` is the speed-up that the next node adds, 1 would be a whole node's."""

    nodes: int
    measured_seconds: float | None
    seconds: Range
    images_per_second: Range
    speedup: Range
    gain: float


@dataclass(frozen=True)
class Scenario:
    """A prediction for every asked cluster size under the same conditions.

    `worthwhile` is the largest size whose last node still added the threshold of speed-up (0: the second did not),
    `fastest` the size of most images a second; both among 1 to the largest size asked for.
    """

    name: str
    conditions: Conditions
    rows: tuple[Row, ...]
    worthwhile: Range
    fastest: int


@dataclass(frozen=True)
class Forecast:
    """One series: what was measured, the fitted costs, and the scenarios, the measured conditions first."""

    measured: Measured
    fit: Fit
    costs: tuple[Range, ...]
    scenarios: tuple[Scenario, ...]
    notes: tuple[str, ...]


def forecast(
    measured: Measured, link_bits_per_second: float | None, question: Question, *, mixed: bool = False
) -> Forecast:
    """Fit one series and answer; `mixed`: its nodes differ in speed. Raises BadInputError for fewer than two sizes."""
    notes = []
    if mixed:
        notes.append("the nodes differ in speed: what is predicted are clusters of the mean node")
    seen = any(point.busiest_bytes for point in measured.points if point.nodes > 1)
    if link_bits_per_second is None or not seen:
        what = "the link that the run was measured on is not known" if seen else "no bytes were measured"
        notes.append(f"{what}: the wire's time is part of the message costs, and no other link can be predicted")
    link = link_bits_per_second if seen else None
    fit = fit_points(measured.points, link)
    too_fast = [point.nodes for point in measured.points if _beats_wire(point, fit)]
    if too_fast:
        sizes = ", ".join(map(str, sorted(set(too_fast))))
        notes.append(
            f"at {sizes} nodes a step took less than its bytes take on the link: is the measured link's rate right?"
        )
    conditions = Conditions(_usual_batch(measured.points), link)
    scenarios = [_scenario("as measured", fit, conditions, question, measured.points)]
    for name, other in _alternatives(conditions, question):
        scenarios.append(_scenario(name, fit, other, question, ()))
    low, high = np.percentile(fit.samples, RANGE_PERCENTILES, axis=1)
    costs = tuple(Range(*(float(x) for x in each)) for each in zip(fit.costs, low, high, strict=True))
    return Forecast(measured, fit, costs, tuple(scenarios), tuple(notes))


def _beats_wire(point: Point, fit: Fit) -> bool:
    if fit.link_bits_per_second is None or not point.busiest_bytes or point.nodes < 2:
        return False
    return point.step_seconds < (1 - MEASURED_SPREAD) * point.busiest_bytes * 8 / fit.link_bits_per_second


def _usual_batch(points: Sequence[Point]) -> float:
    """The batch of the most points; of several the smallest."""
    batches = [round(point.batch) for point in points]
    return float(min(batches, key=lambda batch: (-batches.count(batch), batch)))


def _alternatives(base: Conditions, question: Question) -> list[tuple[str, Conditions]]:
    batch = float(question.batch or BATCH_FACTOR * base.batch)
    larger = (f"batch {batch:.0f}", Conditions(batch, base.link_bits_per_second))
    if base.link_bits_per_second is None:
        return [larger]
    link = question.link_bits_per_second or LINK_FACTOR * base.link_bits_per_second
    faster = (f"link {show_rate(link)}", Conditions(base.batch, link))
    return [faster, larger, (f"{faster[0]}, {larger[0]}", Conditions(batch, link))]


def _scenario(name: str, fit: Fit, conditions: Conditions, question: Question, points: Sequence[Point]) -> Scenario:
    every = np.arange(1, max(question.nodes) + 2, dtype=float)
    seconds, sampled = fit.seconds(every, conditions), fit.sampled_seconds(every, conditions)
    rate, rates = _images_per_second(every, seconds, conditions), _images_per_second(every, sampled, conditions)
    speedup, speedups = rate / rate[0], rates / rates[0]
    ends = _worthwhile(speedups[:-1], question.threshold)
    best = _worthwhile(speedup[:-1, None], question.threshold)[0]
    known = {point.nodes: point.step_seconds for point in points if round(point.batch) == round(conditions.batch)}
    rows = tuple(
        Row(
            nodes,
            known.get(nodes),
            _range(seconds[nodes - 1], sampled[nodes - 1]),
            _range(rate[nodes - 1], rates[nodes - 1]),
            _range(speedup[nodes - 1], speedups[nodes - 1]),
            float(speedup[nodes] - speedup[nodes - 1]),
        )
        for nodes in question.nodes
    )
    return Scenario(name, conditions, rows, _range(best, ends), int(every[:-1][np.argmax(rate[:-1])]))


def _worthwhile(speedups: Array, threshold: float) -> Array:
    """For each column (a row a size, from 1 node on) the largest size whose last node added at least `threshold`."""
    gains = np.diff(speedups, axis=0) >= threshold
    sizes = np.arange(2, len(speedups) + 1, dtype=float)[:, None]
    ends: Array = np.where(gains, sizes, 0.0).max(axis=0, initial=0.0)
    return ends


def _images_per_second(nodes: Array, seconds: Array, conditions: Conditions) -> Array:
    images = nodes * conditions.batch
    return images / seconds if seconds.ndim == 1 else images[:, None] / seconds


def _range(value: float, samples: Array) -> Range:
    low, high = np.percentile(samples, RANGE_PERCENTILES)
    return Range(float(value), float(low), float(high))


def show_rate(bits_per_second: float) -> str:
    """`100 Mbit/s`, `2.5 Gbit/s`."""
    return f"{bits_per_second / 1e9:g} Gbit/s" if bits_per_second >= 1e9 else f"{bits_per_second / 1e6:g} Mbit/s"
