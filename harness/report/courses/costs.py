"""Accuracy against what it cost: seconds, and bytes that a node sent."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from harness.analysis.analysis import Analysis
from harness.analysis.epochs import last_rows
from harness.display import text
from harness.report import parts
from harness.report.courses import lines

_MEGABYTE = 1e6
_LOGARITHMIC = 8
"""From so many times on between the series' bytes, the axis is logarithmic."""


def caption(analysis: Analysis) -> str:
    """Of the figure."""
    shared = " Nodes on one machine: an even part of its loopback's bytes." if analysis.facts.kind == "local" else ""
    return (
        "Medians of the repeats, a mark an epoch, at the largest size. Seconds are those of training and validation of the "
        f"slowest worker; bytes are what a node sent on average, headers included.{shared}"
    )


def table(epochs: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """What every epoch's end had cost.

    Args:
        epochs: frame with the columns, dtypes and units of epochs.csv.
        trials: frame with columns `trial` (text), `series` and `nodes` (int64, count).

    Returns:
        Frame with columns `series` (int64), `epoch`, `elapsed` (s), `megabytes` (a node's, units of 10**6 bytes) and
            `accuracy` (fraction), float64, medians.
    """
    names = ["epoch", "train_seconds", "validation_seconds", "bytes_sent", "validation_accuracy"]
    rows = trials.merge(
        last_rows(lines.numeric(epochs, names).dropna(subset=["epoch"])).drop(columns="nodes"), on="trial"
    )
    found = rows.groupby(["trial", "series", "nodes", "epoch"], as_index=False).agg(
        train=("train_seconds", "max"),
        validation=("validation_seconds", "max"),
        sent=("bytes_sent", lambda sent: sent.sum(min_count=1)),
        accuracy=("validation_accuracy", "median"),
    )
    found["elapsed"] = (found["train"] + found["validation"].fillna(0.0)).groupby(found["trial"]).cumsum()
    found["megabytes"] = found["sent"].groupby(found["trial"]).cumsum() / found["nodes"] / _MEGABYTE
    return lines.medians(found, "epoch", ["elapsed", "megabytes", "accuracy"]).dropna(subset=["accuracy"])


def draw(analysis: Analysis, epochs: pd.DataFrame) -> Figure | None:
    """Two panels, where there are several series.

    Args:
        analysis: of the run.
        epochs: frame with the columns, dtypes and units of epochs.csv.
    """
    if epochs.empty or analysis.trials.empty:
        return None
    trials = lines.at_the_largest(analysis)
    found = table(epochs, trials)
    if found["series"].nunique() < 2 or not (found["megabytes"] > 0).any():
        return None
    where = text.nodes(int(trials["nodes"].max()))
    figure, (by_time, by_bytes) = parts.row(2, share_y=True)
    lines.draw(by_time, analysis, found, "elapsed", "accuracy")
    lines.draw(by_bytes, analysis, found[found["megabytes"] > 0], "megabytes", "accuracy")
    parts.titles(by_time, f"Accuracy against time at {where}", "training and validation, s", "validation accuracy")
    parts.titles(by_bytes, f"Accuracy against bytes at {where}", "sent by a node, MB", "validation accuracy")
    by_time.set_xlim(left=0)
    last = found.groupby("series")["megabytes"].max()
    last = last[last > 0]
    if last.max() > _LOGARITHMIC * last.min():
        by_bytes.set_xscale("log")
        by_bytes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        by_bytes.xaxis.set_minor_formatter(NullFormatter())
    # The early epochs are not what rules differ in.
    ends = found.groupby("series")["accuracy"].max()
    low = max(0.0, float(ends.min()) - max(0.02, 3 * float(ends.max() - ends.min())))
    parts.percent(by_time, low=low, most=1.0)
    parts.legend(figure, analysis)
    return figure
