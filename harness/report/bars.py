"""Bars of what a step's or an epoch's time went into."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from harness.analysis.steps import PARTS
from harness.display import style
from harness.report.parts import place_legend, said

_STEP_HATCHES = {"wait": "////", "other": "...."}
_NAME_CHARACTERS = 18
_STACK = (("compute", "compute", ""), ("wait", "waiting for the store", "////"), ("validation", "validation", "...."))


def stack(axis: Axes, points: pd.DataFrame, scale: float | np.ndarray[Any, Any]) -> None:
    """A bar a cluster size: compute, waiting and validation of an epoch.

    Args:
        axis: where to.
        points: frame with the columns of `Analysis.points`, float64 (s).
        scale: what the seconds are multiplied by, a number or (points,) of float64.
    """
    bottom = np.zeros(len(points))
    for part, _, hatch in _STACK:
        height = points[f"{part}_epoch_seconds"].fillna(0.0).to_numpy(float) * scale
        look = _bar(part, hatch)
        axis.bar(points["nodes"].to_numpy(), height, width=0.72, bottom=bottom, linewidth=0.5, **look)
        bottom = bottom + height


def stack_lying(axis: Axes, points: pd.DataFrame, names: Sequence[str]) -> None:
    """A bar a row beside its name: compute, waiting and validation of an epoch.

    Args:
        axis: where to.
        points: frame with the columns of `Analysis.points`, float64 (s).
        names: a name a row.
    """
    place, before = np.arange(len(points)), np.zeros(len(points))
    for part, _, hatch in _STACK:
        length = points[f"{part}_epoch_seconds"].fillna(0.0).to_numpy(float)
        axis.barh(place, length, height=0.72, left=before, linewidth=0.5, **_bar(part, hatch))
        before = before + length
    _beside(axis, place, names)


def medians_lying(
    axis: Axes,
    points: pd.DataFrame,
    metric: str,
    colours: Sequence[str],
    names: Sequence[str],
    *,
    from_zero: bool = True,
) -> None:
    """A median with its 95% interval a row, beside its name: a bar from zero, or a point.

    Args:
        axis: where to.
        points: frame with the columns of `Analysis.points`, float64 (units as there).
        metric: the column of the medians, units as there; those of the intervals are named after it.
        colours: a colour a row.
        names: a name a row.
        from_zero: whether the axis begins at zero.
    """
    place, median = np.arange(len(points)), points[metric].to_numpy(float)
    if from_zero:
        axis.barh(place, median, height=0.72, color=colours)
    else:
        axis.scatter(median, place, color=colours, zorder=3)
    ends = points[[f"{metric}_low", f"{metric}_high"]].to_numpy(float)
    known = np.isfinite(ends).all(axis=1)
    if known.any():
        away = np.abs(ends[known] - median[known, None]).T
        axis.errorbar(median[known], place[known], xerr=away, fmt="none", ecolor=style.INK, elinewidth=1.0, capsize=2.5)
    _beside(axis, place, names)


def _beside(axis: Axes, place: np.ndarray[Any, Any], names: Sequence[str]) -> None:
    axis.set_yticks(place, [textwrap.fill(said(name), _NAME_CHARACTERS) for name in names])
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.grid(visible=True, axis="x")


def step_bars(axis: Axes, rows: pd.DataFrame, names: Sequence[str] = ()) -> None:
    """A bar a row, in ms: upright over its nodes, or lying beside its name where there are `names`.

    Args:
        axis: where to.
        rows: frame with the columns of `Analysis.steps`, float64 (s).
        names: a name a row, or none.
    """
    place, before = np.arange(len(rows)) if names else rows["nodes"].to_numpy(), np.zeros(len(rows))
    for part in PARTS:
        length = rows[part].fillna(0.0).to_numpy(float) * 1000
        look = {"linewidth": 0.5, **_bar(part, _STEP_HATCHES.get(part, ""))}
        if names:
            axis.barh(place, length, height=0.72, left=before, **look)
        else:
            axis.bar(place, length, width=0.72, bottom=before, **look)
        before = before + length
    if names:
        _beside(axis, place, names)


def step_legend(figure: Figure, rows: pd.DataFrame) -> None:
    """A legend of the parts of a step that were told.

    Args:
        figure: where to.
        rows: frame with the columns of `Analysis.steps`, float64 (s).
    """
    told = [part for part in PARTS if rows[part].fillna(0.0).any()]
    names = {"wait": "waiting for the store"}
    place_legend(
        figure, [Patch(label=names.get(part, part), **_bar(part, _STEP_HATCHES.get(part, ""))) for part in told]
    )


def _bar(part: str, hatch: str) -> dict[str, Any]:
    return {"facecolor": style.part_colour(part), "hatch": hatch, "edgecolor": style.PAPER}


def stack_legend(figure: Figure, points: pd.DataFrame) -> None:
    """A legend of the parts of an epoch that took any time.

    Args:
        figure: where to.
        points: frame with the columns of `Analysis.points`, float64 (s).
    """
    told = [each for each in _STACK if points[f"{each[0]}_epoch_seconds"].fillna(0.0).any()]
    place_legend(figure, [Patch(label=name, **_bar(part, hatch)) for part, name, hatch in told])
