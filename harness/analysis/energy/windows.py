"""When the epochs of a trial were, by the controller's clock. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.epochs import last_rows
from harness.analysis.rates import unix_seconds
from harness.analysis.statistics.intervals import Array


@dataclass(frozen=True)
class Windows:
    """A trial's epochs, `begins` and `ends` in seconds since 1970, and its whole from the launch to the last worker's end.

    `seconds` and `whole_seconds` are how long they took, undilated; of a trial that goes on from a checkpoint the whole is not
    known, for its starts lie apart.
    """

    begins: Array
    ends: Array
    seconds: Array
    whole: tuple[float, float]
    whole_seconds: float


def windows_of(
    trials: pd.DataFrame, per_epoch: pd.DataFrame, epochs: pd.DataFrame, dilation: float
) -> Mapping[str, Windows]:
    """The windows of each trial.

    An epoch ends when the last of its workers has said so, and began its seconds before, or when the epoch before ended.

    Args:
        trials: frame with the columns of trials.csv, numbers as float64 (s), `started_at` as text.
        per_epoch: frame as `epochs.epoch_table` gives it (float64, s).
        epochs: frame with the columns of epochs.csv, numbers as float64, `time` as text (no unit).
        dilation: the clock ran so many times as fast as reported seconds do.
    """
    rows = last_rows(epochs.dropna(subset=["epoch"]))
    ends = rows.assign(end=unix_seconds(rows)).groupby(["trial", "epoch"])["end"].max()
    named = per_epoch.set_index(["trial", "epoch"]).sort_index()
    by_trial = {str(name): own for name, own in named.join(ends).groupby(level="trial", sort=False)}
    starts = unix_seconds(trials, "started_at")
    found = {}
    for (_, row), start in zip(trials.iterrows(), starts, strict=True):
        own = by_trial.get(str(row["trial"]))
        seconds = own["seconds"].to_numpy(float) if own is not None else np.empty(0)
        end = own["end"].to_numpy(float) if own is not None else np.empty(0)
        begin = np.fmax(end - dilation * seconds, np.append(-np.inf, end[:-1])) if len(end) else end
        whole = float(row["total_seconds"]) if math.isnan(row["continued_from_epoch"]) else math.nan
        found[str(row["trial"])] = Windows(
            np.minimum(begin, end), end, seconds, (float(start), float(start) + dilation * whole), whole
        )
    return found
