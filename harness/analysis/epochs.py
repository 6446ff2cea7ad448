"""From rows of epochs.csv to a row an epoch, and to a row a worker. Pure."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.analysis.statistics.intervals import draw_medians, interval_of_draws

_ACCURACIES = ["train_accuracy", "validation_accuracy"]


def last_rows(epochs: pd.DataFrame) -> pd.DataFrame:
    """Of several rows for one trial, epoch and rank (a retried trial) the last counts.

    Args:
        epochs: frame with columns `trial`, `epoch`, `rank` and any others, of any dtype and unit.

    Returns:
        Frame with the same columns, dtypes and units, fewer rows.
    """
    return epochs.drop_duplicates(["trial", "epoch", "rank"], keep="last")


def epoch_table(epochs: pd.DataFrame) -> pd.DataFrame:
    """One row a trial and epoch: the slowest worker's seconds, the mean worker's waiting, and what all workers share.

    Args:
        epochs: frame with the columns of epochs.csv, numbers as float64 (s, images, fractions).

    Returns:
        Frame with columns `trial` (text), `epoch`, `steps`, `images`, `train_seconds`, `validation_seconds`, `wait_seconds`,
        `train_accuracy`, `validation_accuracy`, `seconds` (training and validation), `elapsed_seconds` (from the first epoch
        on); float64 in s, images and fractions.
    """
    rows = last_rows(epochs.dropna(subset=["epoch"]))
    table = rows.groupby(["trial", "epoch"], as_index=False).agg(
        steps=("steps", "max"),
        images=("images", "sum"),
        train_seconds=("train_seconds", "max"),
        validation_seconds=("validation_seconds", "max"),
        wait_seconds=("wait_seconds", "mean"),
        train_accuracy=("train_accuracy", "median"),
        validation_accuracy=("validation_accuracy", "median"),
    )
    table["seconds"] = table["train_seconds"] + table["validation_seconds"].fillna(0.0)
    table["elapsed_seconds"] = table.groupby("trial")["seconds"].cumsum()
    return table


def median_epochs(per_epoch: pd.DataFrame, numbers: pd.DataFrame) -> pd.DataFrame:
    """One row a (series, nodes, epoch): accuracies, medians over the trials.

    Args:
        per_epoch: frame as `epoch_table` gives it; accuracies as float64 (fractions).
        numbers: frame with columns `trial` (text), `series` and `nodes` (int64, count), a row a measured trial.

    Returns:
        Frame with columns `series`, `nodes` (int64), `epoch`, `train_accuracy`, `validation_accuracy` and, with `_low` and
        `_high` added to the name, their 95% intervals (float64; fractions), NaN where there is one trial.
    """
    rows = numbers[["trial", "series", "nodes"]].merge(per_epoch, on="trial")
    groups = rows.groupby(["series", "nodes", "epoch"])
    table = groups[_ACCURACIES].median()
    for name in _ACCURACIES:
        ends = {key: _ends(there[name]) for key, there in groups}
        for place, end in enumerate(("low", "high")):
            table[f"{name}_{end}"] = pd.Series(
                {key: both[place] for key, both in ends.items()}, table.index, dtype=float
            )
    return table.reset_index()


def _ends(values: pd.Series) -> tuple[float, float]:
    known = values.dropna().to_numpy(float)
    return interval_of_draws(draw_medians(known)) if len(known) > 1 else (np.nan, np.nan)


def rank_table(epochs: pd.DataFrame, numbers: pd.DataFrame) -> pd.DataFrame:
    """One row a measured trial and rank: its training time without waiting.

    Args:
        epochs: frame with the columns of epochs.csv, numbers as float64 (s); `node` may be absent.
        numbers: frame with columns `trial` (text), `series` and `nodes` (int64, count), a row a measured trial.

    Returns:
        Frame with columns `trial`, `node` (text), `series`, `nodes` (int64), `rank`, `own_seconds` (float64, s).
    """
    rows = last_rows(epochs).copy()
    rows["own_seconds"] = rows["train_seconds"] - rows["wait_seconds"]
    if "node" not in rows:
        rows["node"] = ""
    table = rows.groupby(["trial", "rank"], as_index=False).agg(
        node=("node", "last"), own_seconds=("own_seconds", lambda values: values.sum(min_count=1))
    )
    return numbers[["trial", "series", "nodes"]].merge(table, on="trial")
