"""What figures are made of: rows and grids of axes, curves, bars, ticks and the legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.analysis.analysis import Analysis
from harness.analysis.series import Series
from harness.display import style

# Narrow enough that its letters can be read on a telephone; panels stand below each other, figures beside each other.
WIDTH_INCHES = 4.1
_PANEL_INCHES = 2.7
_BAND_ALPHA = 0.18
_LABEL_CHARACTERS = 34
IDEAL: dict[str, Any] = {"color": style.MUTED, "linewidth": 1.0, "linestyle": (0, (4, 3)), "zorder": 1.5}
# Up to so many cluster sizes each has its tick.
_ALL_TICKS = 16
_LEGEND_CHARACTERS = 50
_LEGEND_ROW_INCHES = 0.18
_ROOM = 1.03
"""A y axis from zero shows a little more than the data need: a point on the edge would be cut in half."""


def row(panels: int, *, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of panels below each other."""
    figure = Figure(figsize=(WIDTH_INCHES, _PANEL_INCHES * panels + 0.4), layout="constrained")
    first = figure.add_subplot(panels, 1, 1)
    others = [figure.add_subplot(panels, 1, n, sharey=first if share_y else None) for n in range(2, panels + 1)]
    return figure, [first, *others]


def lying(bars: int) -> tuple[Figure, Axes]:
    """A figure of one panel for so many bars that lie."""
    figure, (axis,) = lying_panels(bars, 1)
    return figure, axis


def lying_panels(bars: int, panels: int) -> tuple[Figure, list[Axes]]:
    """A figure of panels below each other, each for so many bars that lie."""
    figure = Figure(figsize=(WIDTH_INCHES, 0.4 + panels * (1.1 + 0.32 * bars)), layout="constrained")
    return figure, [figure.add_subplot(panels, 1, number) for number in range(1, panels + 1)]


def curves(axis: Axes, analysis: Analysis, metric: str) -> None:
    """Every series: a line through the medians, broken where a planned size has no data, in a band of their 95% intervals;
    every trial as a point.
    """
    for one in analysis.series:
        rows = analysis.trials_of(one).dropna(subset=[metric])
        points = analysis.points_of(one).set_index("nodes")
        _curve(axis, analysis, one, points[metric])
        ends = points[[f"{metric}_low", f"{metric}_high"]].reindex(list(analysis.sizes))
        band(axis, np.array(analysis.sizes, float), ends.to_numpy(float), style.mark(one.index, one.control).colour)
        _points(axis, one, rows, metric)


def band(axis: Axes, sizes: np.ndarray[Any, Any], ends: np.ndarray[Any, Any], colour: str) -> None:
    """A band between both ends of the intervals, nothing where there are none.

    Args:
        axis: where to.
        sizes: (points,) float64, counts on the x axis.
        ends: points x 2, float64, units of the y axis; NaN where there is no interval.
        colour: of the band.
    """
    if np.isfinite(ends).any():
        look: dict[str, Any] = {"color": colour, "alpha": _BAND_ALPHA, "linewidth": 0}
        axis.fill_between(sizes, ends[:, 0], ends[:, 1], **look)


def goal_curves(axis: Axes, analysis: Analysis, accuracy: float) -> None:
    """The time to an accuracy of every family, each size with its quickest policy, and one ideal."""
    rows = analysis.goals[analysis.goals["accuracy"] == accuracy]
    first: tuple[float, float] | None = None
    for family, own in rows.groupby("family"):
        table = own.set_index("nodes").reindex(list(analysis.sizes)).replace(np.inf, np.nan)
        mark = goal_mark(analysis, int(str(family)))
        seconds = table["seconds"].to_numpy(float)
        axis.plot(analysis.sizes, seconds, color=mark.colour, linestyle=mark.line, **_point(mark))
        ends = table[["seconds_low", "seconds_high"]].to_numpy(float)
        band(axis, np.array(analysis.sizes, float), ends, mark.colour)
        known = [(size, value) for size, value in zip(analysis.sizes, seconds, strict=True) if np.isfinite(value)]
        if known and (first is None or known[0] < first):
            first = known[0]
    if first is not None:
        _ideal(axis, analysis, *first)


def goal_mark(analysis: Analysis, family: int) -> style.Mark:
    """How a family is drawn: as the series that is its quickest at the smallest size."""
    rows = analysis.goals[analysis.goals["family"] == family]
    return style.mark(int(rows["series"].iloc[0]))


def goal_legend(figure: Figure, analysis: Analysis) -> None:
    """A legend of the families, and the ideal."""
    handles = []
    for family, own in analysis.goals.groupby("family"):
        mark = goal_mark(analysis, int(str(family)))
        label = str(own["label"].iloc[0])
        handles.append(Line2D([], [], color=mark.colour, linestyle=mark.line, label=said(label), **_point(mark)))
    place_legend(figure, [*handles, Line2D([], [], label="ideal (linear)", **IDEAL)])


def health(axis: Axes, analysis: Analysis, metric: str, scale: float) -> None:
    """Every series: a line through the medians of the nodes, and every node of every trial as a point."""
    for one in analysis.series:
        rows = analysis.telemetry[analysis.telemetry["series"] == one.index].dropna(subset=[metric])
        rows = rows.assign(**{metric: rows[metric] * scale})
        _curve(axis, analysis, one, rows.groupby("nodes")[metric].median())
        _points(axis, one, rows, metric, small=True)


def _curve(axis: Axes, analysis: Analysis, one: Series, medians: pd.Series) -> None:
    mark = style.mark(one.index, one.control)
    values = medians.reindex(list(analysis.sizes)).to_numpy(float)
    axis.plot(analysis.sizes, values, color=mark.colour, linestyle=mark.line, label=one.label)


def _points(axis: Axes, one: Series, rows: pd.DataFrame, metric: str, *, small: bool = False) -> None:
    mark = style.mark(one.index, one.control)
    for suspect, there in rows.groupby("suspect"):
        look = _point(mark, hollow=bool(suspect), small=small)
        axis.plot(there["nodes"].to_numpy(), there[metric].to_numpy(float), linestyle="none", **look)


def _point(mark: style.Mark, *, hollow: bool = False, small: bool = False) -> dict[str, Any]:
    return {
        "marker": mark.marker,
        "markersize": 2.6 if small else 4.2,
        "markerfacecolor": style.PAPER if hollow else mark.colour,
        "markeredgecolor": mark.colour,
        "markeredgewidth": 0.7 if small else 1.1,
        "alpha": 0.7 if small else 1.0,
        "zorder": 3,
    }


def ideal_times(axis: Axes, analysis: Analysis, metric: str) -> None:
    """One line: of the series that is quickest at the smallest size, its time there divided by the growth in nodes."""
    starts = []
    for one in analysis.subjects:
        points = analysis.points_of(one).dropna(subset=[metric])
        if len(points):
            starts.append((float(points["nodes"].iloc[0]), float(points[metric].iloc[0])))
    if starts:
        _ideal(axis, analysis, *min(starts))


def _ideal(axis: Axes, analysis: Analysis, base: float, seconds: float) -> None:
    sizes = np.linspace(base, max(analysis.sizes), 100)
    axis.plot(sizes, seconds * base / sizes, **{**IDEAL, "alpha": 0.7})


def ideal_speedups(axis: Axes, analysis: Analysis) -> None:
    """One line: speed-up equal to the growth in nodes since the smallest size of all."""
    base = int(analysis.points["base_nodes"].min())
    ends = [base, max(analysis.sizes)]
    axis.plot(ends, [size / base for size in ends], **IDEAL)


def finish(axis: Axes, analysis: Analysis, title: str, unit: str, *, failed: Sequence[int] | None = None) -> None:
    """Title, units and a tick at every cluster size; `failed` are the sizes to mark, by default of any series."""
    titles(axis, title, "nodes", unit)
    sizes = analysis.sizes
    axis.set_xlim(min(sizes) - 0.6, max(sizes) + 0.6)
    if len(sizes) <= _ALL_TICKS:
        axis.set_xticks(sizes)
    else:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    _failed_sizes(axis, sorted(set(analysis.failures["nodes"])) if failed is None else failed)


def _failed_sizes(axis: Axes, failed: Sequence[int]) -> None:
    """A cross on the axis where trials of a size failed: such a gap is not a size that was never asked for."""
    # Matplotlib's layout gives up on an empty line.
    if failed:
        look: dict[str, Any] = {"linestyle": "none", "marker": "x", "markersize": 5, "clip_on": False, "zorder": 4}
        axis.plot(failed, np.zeros(len(failed)), transform=axis.get_xaxis_transform(), color=style.MUTED, **look)


def titles(axis: Axes, title: str, x: str, y: str) -> None:
    """Title and labels of a panel; a label that is longer than the panel is high goes on in a second line."""
    axis.set_title(title, loc="left")
    axis.set_xlabel(x)
    axis.set_ylabel(fill(y, _LABEL_CHARACTERS))


def from_zero(axis: Axes, *, integers: bool = False) -> None:
    """Begin the y axis at zero."""
    axis.set_ylim(0, axis.get_ylim()[1] * _ROOM)
    if integers:
        axis.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def percent(axis: Axes, low: float | None = None, high: float | None = None, most: float = math.inf) -> None:
    """A y axis of fractions shown as percentages, which spans at least two points; none of them is more than `most`."""
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.4g}%"))
    bottom, top = axis.get_ylim()
    top *= _ROOM if low == 0.0 else 1.0
    bottom, top = bottom if low is None else low, top if high is None else high
    top = capped(bottom, top, most)
    missing = max(0.0, 0.02 - (top - bottom))
    above = missing / 2 if top + missing / 2 <= most else 0.0
    axis.set_ylim(bottom - (missing - above), top + above)


def capped(bottom: float, top: float, most: float) -> float:
    """Where an axis ends whose values are at most `most`: it has room for whole marks there, and no further tick."""
    return min(top, most + (_ROOM - 1) * (top - bottom))


def legend(figure: Figure, analysis: Analysis, *, ideal: str | None = None) -> None:
    """One legend under the panels: the series, the ideal, and what hollow marks and crosses mean where there are any."""
    handles: list[Line2D] = []
    for one in analysis.series:
        if len(analysis.points_of(one)):
            mark = style.mark(one.index, one.control)
            handles.append(
                Line2D([], [], color=mark.colour, linestyle=mark.line, label=said(one.label), **_point(mark))
            )
    if ideal is not None:
        handles.append(Line2D([], [], label=ideal, **IDEAL))
    if len(analysis.suspects):
        look = _point(style.Mark(style.MUTED, "o", ""), hollow=True)
        handles.append(Line2D([], [], linestyle="none", label="suspect trial", **look))
    if len(analysis.failures):
        handles.append(Line2D([], [], linestyle="none", marker="x", color=style.MUTED, label="failed trials"))
    place_legend(figure, handles)


def said(label: str) -> str:
    """A label that Matplotlib does not leave out, as it does with a leading underscore."""
    return f" {label}" if label.startswith("_") else label


def size_legend(figure: Figure, colours: dict[int, str]) -> None:
    """A legend of cluster sizes by colour."""
    place_legend(
        figure,
        [
            Line2D([], [], color=colour, marker="o", markersize=3, label=f"{size} node{'s' if size > 1 else ''}")
            for size, colour in colours.items()
        ],
    )


def place_legend(figure: Figure, handles: Sequence[Line2D | Patch]) -> None:
    """Put a legend under the panels, in as many columns as fit by its longest label."""
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    columns = max(1, min(len(handles), _LEGEND_CHARACTERS // (longest + 7)))
    rows = -(-len(handles) // columns)
    # The legend's further rows must not come out of the panels' height.
    figure.set_figheight(figure.get_figheight() + _LEGEND_ROW_INCHES * (rows - 1))
    figure.legend(handles=list(handles), loc="outside lower center", ncols=columns)
