"""Which series was faster; said only where the intervals do not overlap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.analysis.analysis import Analysis
from harness.analysis.series import Series
from harness.analysis.statistics.intervals import Estimate, estimate_of, ratio
from harness.display import text

_METRIC = "images_per_second"


@dataclass(frozen=True)
class _Rate:
    label: str
    estimate: Estimate
    by_repeat: dict[float, float]


def comparison(analysis: Analysis) -> str:
    """Which series was fastest at the largest size that all measured; empty where there is nothing to compare."""
    rates = [analysis.points_of(one).set_index("nodes")[_METRIC].dropna() for one in analysis.subjects]
    common = set.intersection(*(set(there.index) for there in rates)) if len(rates) > 1 else set()
    if not common:
        return ""
    size = max(common)
    best, *others = sorted(
        (_rate(analysis, one, size) for one in analysis.subjects), key=lambda each: each.estimate.value, reverse=True
    )
    where = f"At {text.nodes(size)}"
    rate = f"{best.label}: {text.number(best.estimate.value)} images/s"
    others = [each for each in others if each.estimate.value > 0]
    slower = [each for each in others if best.estimate.is_above(each.estimate)]
    unsure = [each for each in others if each not in slower]
    if not unsure:
        value = f"{text.number(best.estimate.value)} images/s{spread(best.estimate, text.number)}"
        return f"{where} {best.label} trained fastest: {value}, {_times(best, slower)}."
    if not best.estimate.has_interval:
        return (
            f"{where}, one trial each, {rate}, {_times(best, others)}: without repeats there is no interval, so which is "
            "faster is not known."
        )
    faster = f", {_times(best, slower)}" if slower else ""
    return f"{where} {rate}{faster}; of {_times(best, unsure)} the intervals overlap: which of these is faster is not known."


def _rate(analysis: Analysis, one: Series, size: int) -> _Rate:
    points = analysis.points_of(one)
    point = points[points["nodes"] == size].iloc[0]
    trials = analysis.trials_of(one)
    own = trials[trials["nodes"] == size].dropna(subset=[_METRIC])
    middle = estimate_of(point, _METRIC)
    return _Rate(one.label, middle, dict(zip(own["repeat"], own[_METRIC], strict=True)))


def _times(best: _Rate, others: list[_Rate]) -> str:
    found = [(ratio(best.by_repeat, each.by_repeat), each.label) for each in others]
    return ", ".join(f"{text.ratio(times.value)} times {label}{spread(times, text.ratio)}" for times, label in found)


def spread(estimate: Estimate, show: Callable[[float], str]) -> str:
    """` (95%: 1.93 to 2.11)`; empty where there is no interval, or one that reads as the value does."""
    ends = text.between(estimate.low, estimate.high, show) if estimate.has_interval else ""
    return f" (95%: {ends})" if ends else ""
