"""What the figures of courses share: the trials at the largest size, medians over repeats, and a line a series."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.analysis.analysis import Analysis
from harness.display import style


def at_the_largest(analysis: Analysis) -> pd.DataFrame:
    """The measured trials at the largest size.

    Returns:
        Frame with columns `trial` (text), `series` (int64) and `nodes` (int64, count).
    """
    rows = analysis.trials[["trial", "series", "nodes"]]
    found: pd.DataFrame = rows[rows["nodes"] == rows["nodes"].max()]
    return found


def medians(rows: pd.DataFrame, by: str, metrics: list[str]) -> pd.DataFrame:
    """Of the repeats.

    Args:
        rows: frame with columns `series` (int64), `by` and the metrics, float64 in any units; a row a trial and point.
        by: what makes a point.
        metrics: names.

    Returns:
        Frame with columns `series` (int64), `by` and the metrics (float64), in the same units.
    """
    return rows.groupby(["series", by], as_index=False)[metrics].median()


def draw(axis: Axes, analysis: Analysis, table: pd.DataFrame, x: str, y: str) -> None:
    """A line a series.

    Args:
        axis: where to.
        analysis: of the run.
        table: frame with columns `series` (int64), and `x` and `y` as float64 in the axis' units.
        x: column.
        y: column.
    """
    for one in analysis.series:
        own = table[table["series"] == one.index].dropna(subset=[x, y])
        if len(own):
            mark = style.mark(one.index, one.control)
            look: dict[str, Any] = {"color": mark.colour, "marker": mark.marker, "linestyle": mark.line}
            axis.plot(own[x].to_numpy(float), own[y].to_numpy(float), markersize=2.6, linewidth=1.2, **look)


def numeric(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Columns as float64, NaN where a cell is no number or the column is not there.

    Args:
        frame: with any columns, of any dtype and units.
        columns: to be there.

    Returns:
        Frame with the same columns and these (float64), in the same units.
    """
    found = {name: pd.to_numeric(frame[name], errors="coerce") if name in frame else np.nan for name in columns}
    return frame.assign(**found)
