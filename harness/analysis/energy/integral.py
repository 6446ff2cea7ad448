"""Energy out of samples of power: every sample holds until the next one, but not for longer than a meter is wont to take. Pure.

What lies further from the sample before is a gap: it has no energy here, and is not counted as covered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.analysis.statistics.intervals import Array

HOLD_INTERVALS = 3.0
LEAST_HOLD_SECONDS = 5.0


@dataclass(frozen=True)
class Samples:
    """Power as steps that follow each other: from `begins` to `ends`, seconds of one clock, `watts` are drawn."""

    begins: Array
    ends: Array
    watts: Array


@dataclass(frozen=True)
class Drawn:
    """Of each of some windows of time: `joules` where power is known, and for how many seconds it is `covered`."""

    joules: Array
    covered: Array


def samples_of(times: Array, watts: Array) -> Samples:
    """Samples as steps. Each holds for HOLD_INTERVALS usual intervals at most, and LEAST_HOLD_SECONDS at least.

    Args:
        times: (samples,) float64, s; when the meter was asked, in any order.
        watts: (samples,) float64, units W; NaN where the meter did not answer.
    """
    order = np.argsort(times, kind="stable")
    order = order[np.isfinite(times[order])]
    times, watts = times[order], watts[order]
    # Also what was asked in vain says how often the meter is asked.
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    known = np.isfinite(watts)
    times, watts = times[known], watts[known]
    hold = max(LEAST_HOLD_SECONDS, HOLD_INTERVALS * usual)
    ends = np.minimum(times + hold, np.append(times[1:], np.inf))
    return Samples(times, ends, watts)


def drawn(samples: Samples, begins: Array, ends: Array) -> Drawn:
    """What was drawn in windows of time.

    Args:
        samples: power as steps.
        begins: (windows,) float64, s, of the samples' clock; NaN where it is not known.
        ends: (windows,) float64, s, likewise.
    """
    if len(samples.watts) == 0:
        nothing = np.zeros(len(begins))
        return Drawn(nothing, nothing)
    seconds = samples.ends - samples.begins
    edges = np.column_stack([samples.begins, samples.ends]).ravel()

    def between(rates: Array) -> Array:
        """The integral of a rate over each window, by its integral up to every edge of a step."""
        sums = np.cumsum(rates * seconds)
        heights = np.column_stack([np.append(0.0, sums[:-1]), sums]).ravel()
        found: Array = np.interp(ends, edges, heights) - np.interp(begins, edges, heights)
        return found

    return Drawn(between(samples.watts), between(np.ones_like(seconds)))
