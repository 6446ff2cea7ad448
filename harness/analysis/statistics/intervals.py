"""95% intervals of medians and of ratios, by the percentile bootstrap (Efron and Tibshirani, 1993, chapter 13). Pure.

Of three values the interval of the median is their range; of one there is none. Draws are of a fixed seed, so the same run
gives the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 2000
PERCENTILES = (2.5, 97.5)
_SEED = 95


@dataclass(frozen=True)
class Estimate:
    """A median with its 95% interval; `low` and `high` are NaN where there are not two values."""

    value: float
    low: float = math.nan
    high: float = math.nan
    count: int = 1

    @property
    def has_interval(self) -> bool:
        """Whether repeats say how sure it is."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    def is_above(self, other: Estimate) -> bool:
        """Whether it is greater by more than both intervals; never where one of them is not known."""
        return self.has_interval and other.has_interval and self.low > other.high


def draw_medians(values: Array, stream: int = 0) -> Array:
    """Medians of resampled values; inf is a value (an accuracy that was never reached).

    Args:
        values: (repeats,) or repeats x metrics, float64, any unit.
        stream: draws of different streams are independent.

    Returns:
        (RESAMPLES,) or RESAMPLES x metrics, float64, units of the values.
    """
    noise = np.random.default_rng((_SEED, stream))
    drawn = noise.integers(0, len(values), (RESAMPLES, len(values)))
    medians: Array = np.median(values[drawn], axis=1)
    return medians


def interval_of_draws(draws: Array) -> tuple[float, float]:
    """Both ends of the 95% interval.

    Args:
        draws: (draws,) float64, any unit; NaN where a draw says nothing.
    """
    known = draws[~np.isnan(draws)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.percentile(known, PERCENTILES, method="inverted_cdf")
    return float(low), float(high)


def estimate(values: Array) -> Estimate:
    """The median of the values that are known, with its interval.

    Args:
        values: (repeats,) float64, any unit.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return Estimate(math.nan, count=0)
    middle = float(np.median(known))
    if len(known) < 2:
        return Estimate(middle)
    return Estimate(middle, *interval_of_draws(draw_medians(known)), len(known))


def estimate_of(row: pd.Series, metric: str) -> Estimate:
    """A value of a row with its interval.

    Args:
        row: a row of `Analysis.points` or `Analysis.goals`, float64 (units as there).
        metric: its name.
    """
    return Estimate(float(row[metric]), float(row[f"{metric}_low"]), float(row[f"{metric}_high"]))


def ratio(upper: Mapping[float, float], lower: Mapping[float, float]) -> Estimate:
    """The ratio of two series of values by repeat.

    Trials of one repeat ran next to each other in time, so each is compared with its neighbour and the median of these ratios
    counts: what changed between repeats falls out. Without a common repeat it is the ratio of the medians.
    """
    common = [repeat for repeat in upper if repeat in lower]
    with np.errstate(divide="ignore", invalid="ignore"):
        if common:
            return estimate(np.array([upper[each] for each in common]) / np.array([lower[each] for each in common]))
        above, below = (np.array(list(each.values()), dtype=float) for each in (upper, lower))
        if not len(above) or not len(below):
            return Estimate(math.nan, count=0)
        middle = float(np.median(above) / np.median(below))
        if len(above) < 2 and len(below) < 2:
            return Estimate(middle)
        draws = draw_medians(above, 1) / draw_medians(below, 2)
    return Estimate(middle, *interval_of_draws(draws), min(len(above), len(below)))
