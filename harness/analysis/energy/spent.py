"""What one node, or something else, drew in one trial. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.analysis.energy.integral import drawn
from harness.analysis.energy.sources import METER, Source
from harness.analysis.energy.windows import Windows
from harness.analysis.statistics.intervals import Array

LEAST_COVERED = 0.9
"""Of a time: where samples cover less of it, its energy is not given; where they cover more, their mean stands for the rest."""


@dataclass(frozen=True)
class Spent:
    """The energy from the first epoch's begin up to each epoch's end, and in the whole trial, in J; NaN where not known.

    `above` is the same without what would have been drawn idle. `source` says how it is known, empty where it is not;
    `covered` is the share of the epochs' time, or of the whole trial's without epochs, that samples cover (1 without a meter).
    """

    source: str
    joules: Array
    above: Array
    whole: float
    covered: float


def spent(source: Source, windows: Windows) -> Spent:
    """What a source says of a trial: a meter first, where it was there, else what was declared or estimated."""
    measured = _measured(source, windows) if source.samples is not None else None
    if measured is not None and (measured.source or math.isnan(source.fixed_watts)):
        return measured
    seconds = np.cumsum(windows.seconds)
    return Spent(
        "" if math.isnan(source.fixed_watts) else source.fixed_source,
        source.fixed_watts * seconds,
        (source.fixed_watts - source.idle_watts) * seconds,
        source.fixed_watts * windows.whole_seconds,
        1.0,
    )


def _measured(source: Source, windows: Windows) -> Spent | None:
    if source.samples is None:
        return None
    lengths, seconds = np.cumsum(windows.ends - windows.begins), np.cumsum(windows.seconds)
    each = drawn(source.samples, windows.begins, windows.ends)
    joules, shares = _completed(np.cumsum(each.joules), np.cumsum(each.covered), lengths, seconds)
    begin, end = (np.array([moment]) for moment in windows.whole)
    all_of_it = drawn(source.samples, begin, end)
    whole_seconds = np.array([windows.whole_seconds])
    whole, whole_shares = _completed(all_of_it.joules, all_of_it.covered, end - begin, whole_seconds)
    covered = float(shares[-1] if len(shares) else whole_shares[0])
    known = covered >= LEAST_COVERED
    if known and whole_shares[0] >= LEAST_COVERED:  # both numbers are given: the worse one is told
        covered = min(covered, float(whole_shares[0]))
    return Spent(METER if known else "", joules, joules - source.idle_watts * seconds, float(whole[0]), covered)


def _completed(joules: Array, covered: Array, lengths: Array, seconds: Array) -> tuple[Array, Array]:
    """Mean power times seconds, NaN where too little of a length of time is covered, and the covered shares.

    The seconds are the program's own: by the controller's clock, on which the lengths are, what it says comes a little late.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shares: Array = covered / lengths
        whole: Array = np.where(shares >= LEAST_COVERED, joules / covered * seconds, np.nan)
    return whole, shares
