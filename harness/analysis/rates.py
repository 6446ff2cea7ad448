"""How many images a second all workers train, and what the same nodes would do independently: one definition each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.analysis.epochs import last_rows

_KEYS = ["trial", "rank"]


def steady_rows(epochs: pd.DataFrame, dilation: float = 1.0) -> pd.DataFrame:
    """The rows of epochs.csv that a trial's rate counts.

    The first epoch holds what happens only once, and workers that do not wait for each other start and end at different
    times. So of each worker those epochs count whose middle lies where every worker was past its first epoch and none had
    ended. Where a worker of a trial has no such epoch, all epochs after the first count, or the only one.

    Args:
        epochs: frame with the columns of epochs.csv, numbers as float64 (s, images), `time` as text (ISO 8601).
        dilation: the clock of `time` ran so many times as fast as that of the seconds (no unit).

    Returns:
        Frame with the same columns, dtypes and units, fewer rows, and `together` (bool): whether the trial's rows are of the
        time when all of its workers trained.
    """
    rows = last_rows(epochs.dropna(subset=["epoch"]))
    by_trial = rows["trial"]
    first, last = (rows.groupby("trial")["epoch"].transform(name) for name in ("min", "max"))
    ends = unix_seconds(rows)
    middles = ends - dilation * (rows["train_seconds"] + rows["validation_seconds"].fillna(0.0)) / 2
    begin = ends.where(rows["epoch"] == first).groupby(by_trial).transform("max")
    end = ends.where(rows["epoch"] == last).groupby(by_trial).transform("min")
    later = rows["epoch"] > first
    inside = later & (middles >= begin) & (middles <= end)
    everybody = rows.assign(inside=inside).groupby(_KEYS)["inside"].any().groupby("trial").all()
    together = by_trial.map(everybody).astype(bool)
    chosen = inside.where(together, later | (first == last))
    return rows.assign(together=together)[chosen]


def added_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """The workers' own rates added up: images over training time of each, the time when others wait or train not counted in.

    Args:
        rows: frame with columns `trial`, `rank` (float64) and `images`, `train_seconds` (float64; images, s), as `steady_rows`
            gives them.

    Returns:
        Frame by trial (its index): `steady_rate` (float64, images/s) and `steady_workers` (int64, how many workers it is of).
    """
    sums = rows.groupby(_KEYS)[["images", "train_seconds"]].sum(min_count=1)
    by_trial = (sums["images"] / sums["train_seconds"]).groupby("trial")
    return pd.DataFrame({"steady_rate": by_trial.sum(), "steady_workers": by_trial.count()})


def steady_step_seconds(trials: pd.DataFrame) -> pd.Series:
    """What a step took in each trial, the first epoch left out where there is another.

    Args:
        trials: frame with columns `global_batch` (float64, images) and `images_per_second` (float64, images/s), a row a trial.

    Returns:
        Series of float64 (s), one by trial, with the index of `trials`; NaN where it is not known.
    """
    seconds: pd.Series = trials["global_batch"] / trials["images_per_second"]
    return seconds.where(trials["images_per_second"] > 0)


def rates_added_up(rows: pd.DataFrame, nodes: Mapping[str, Mapping[str, Any]]) -> pd.Series:
    """What each trial's nodes would do independently by their measured rates, each with its own batch of the trial.

    Args:
        rows: frame with columns `trial`, `rank`, `node` (text) and `images`, `steps` (float64; images, count), as
            `steady_rows` gives them.
        nodes: by node `fixed_seconds` (s a step) and `image_seconds` (s an image), as the manifest has them.

    Returns:
        Series of float64 by trial (images/s), NaN where a node of it has no rate.
    """
    sums = rows.groupby([*_KEYS, "node"])[["images", "steps"]].sum(min_count=1).reset_index()
    batch = sums["images"] / sums["steps"].where(sums["steps"] > 0)
    fixed, image = (
        pd.to_numeric(sums["node"].map({node: rate.get(key) for node, rate in nodes.items()}), errors="coerce")
        for key in ("fixed_seconds", "image_seconds")
    )
    rates = batch / (fixed + image * batch)
    return rates.groupby(sums["trial"]).sum(min_count=1).where(rates.notna().groupby(sums["trial"]).all())


def unix_seconds(rows: pd.DataFrame, column: str = "time") -> pd.Series:
    """When the controller got each row.

    Args:
        rows: frame with the column as text, ISO 8601 (no unit), or without it.
        column: its name.

    Returns:
        Series of float64, (rows,), s since 1970; NaN where that is not known.
    """
    if column not in rows:
        return pd.Series(float("nan"), index=rows.index)
    return (moments_of(rows[column]) - pd.Timestamp(0, tz="UTC")).dt.total_seconds()


def moments_of(times: pd.Series) -> pd.Series:
    """Moments as the harness writes them.

    Args:
        times: Series of text, (rows,), ISO 8601, no unit.

    Returns:
        Series of dtype datetime64[ns, UTC], (rows,), no unit. NaT for what is none, or of a year that no
        computer's clock has: pandas cannot compute with all years that it reads.
    """
    likely = times.where(times.astype(str).str.match(r"(19[7-9]|2[01]\d)\d-"))
    return pd.to_datetime(likely, utc=True, errors="coerce", format="ISO8601")
