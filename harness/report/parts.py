"""What figures are made of: rows and grids of axes, curves, bars, ticks and the legend."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.report import style
from harness.report.analysis import Analysis
from harness.report.series import Series
from harness.report.steps import PARTS

WIDTH_INCHES = 6.6
IDEAL: dict[str, Any] = {"color": style.MUTED, "linewidth": 1.0, "linestyle": (0, (4, 3)), "zorder": 1.5}
# Up to so many cluster sizes each has its tick.
_ALL_TICKS = 16
_LEGEND_CHARACTERS = 84
_LEGEND_ROW_INCHES = 0.18
_STEP_HATCHES = {"wait": "////", "other": "...."}
_NAME_CHARACTERS = 28
_STACK = (("compute", "compute", ""), ("wait", "waiting for the store", "////"), ("validation", "validation", "...."))


def row(panels: int, *, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of panels side by side."""
    figure = Figure(figsize=(WIDTH_INCHES if panels > 1 else WIDTH_INCHES / 1.4, 3.1), layout="constrained")
    first = figure.add_subplot(1, panels, 1)
    others = [figure.add_subplot(1, panels, n, sharey=first if share_y else None) for n in range(2, panels + 1)]
    return figure, [first, *others]


def grid(rows: int, height_inches: float) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A figure of rows of two panels."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches * rows + 0.8), layout="constrained")
    return figure, [
        (figure.add_subplot(rows, 2, 2 * n + 1), figure.add_subplot(rows, 2, 2 * n + 2)) for n in range(rows)
    ]


def lying(bars: int) -> tuple[Figure, Axes]:
    """A figure of one panel for so many bars that lie."""
    figure = Figure(figsize=(WIDTH_INCHES, 1.5 + 0.32 * bars), layout="constrained")
    return figure, figure.add_subplot(1, 1, 1)


def curves(axis: Axes, analysis: Analysis, metric: str) -> None:
    """Every series: a line through the medians, broken where a planned size has no data; every trial as a point."""
    for one in analysis.series:
        rows = analysis.trials_of(one).dropna(subset=[metric])
        _curve(axis, analysis, one, analysis.points_of(one).set_index("nodes")[metric])
        _points(axis, one, rows, metric)


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
    """For every series the time at its smallest size, divided by the growth in nodes."""
    for one in analysis.subjects:
        points = analysis.points_of(one).dropna(subset=[metric])
        if points.empty:
            continue
        base, seconds = float(points["nodes"].iloc[0]), float(points[metric].iloc[0])
        sizes = np.linspace(base, max(analysis.sizes), 100)
        colour = style.MUTED if len(analysis.subjects) == 1 else style.mark(one.index, one.control).colour
        axis.plot(sizes, seconds * base / sizes, **{**IDEAL, "color": colour, "alpha": 0.7})


def ideal_speedups(axis: Axes, analysis: Analysis) -> None:
    """Speed-up equal to the growth in nodes, for every smallest size that a series has."""
    for base in sorted(set(analysis.points["base_nodes"])):
        ends = [base, max(analysis.sizes)]
        axis.plot(ends, [size / base for size in ends], **IDEAL)


def stack(axis: Axes, points: pd.DataFrame, scale: float | np.ndarray[Any, Any]) -> None:
    """A bar a cluster size: compute, waiting and validation of an epoch, in seconds times `scale`."""
    bottom = np.zeros(len(points))
    for part, _, hatch in _STACK:
        height = points[f"{part}_epoch_seconds"].fillna(0.0).to_numpy(float) * scale
        look = _bar(part, hatch)
        axis.bar(points["nodes"].to_numpy(), height, width=0.72, bottom=bottom, linewidth=0.5, **look)
        bottom = bottom + height


def step_bars(axis: Axes, rows: pd.DataFrame, names: Sequence[str] = ()) -> None:
    """A bar a row of `Analysis.steps`, in ms: upright over its nodes, or lying beside its name where there are `names`."""
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
        axis.set_yticks(place, [textwrap.fill(name, _NAME_CHARACTERS) for name in names])
        axis.invert_yaxis()
        axis.grid(visible=False, axis="y")
        axis.grid(visible=True, axis="x")


def step_legend(figure: Figure, rows: pd.DataFrame) -> None:
    """A legend of the parts of a step that were told."""
    told = [part for part in PARTS if rows[part].fillna(0.0).any()]
    names = {"wait": "waiting for the store"}
    place_legend(
        figure, [Patch(label=names.get(part, part), **_bar(part, _STEP_HATCHES.get(part, ""))) for part in told]
    )


def _bar(part: str, hatch: str) -> dict[str, Any]:
    return {"facecolor": style.part_colour(part), "hatch": hatch, "edgecolor": style.PAPER}


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
    """Title and labels of a panel."""
    axis.set_title(title, loc="left")
    axis.set_xlabel(x)
    axis.set_ylabel(y)


def from_zero(axis: Axes, *, integers: bool = False) -> None:
    """Begin the y axis at zero."""
    # A little more than the data need: a point on the edge would be cut in half.
    axis.set_ylim(0, axis.get_ylim()[1] * 1.03)
    if integers:
        axis.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def percent(axis: Axes, low: float | None = None, high: float | None = None) -> None:
    """A y axis of fractions shown as percentages, which spans at least two points."""
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.4g}%"))
    bottom, top = axis.get_ylim()
    bottom, top = bottom if low is None else low, top if high is None else high
    missing = max(0.0, 0.02 - (top - bottom))
    axis.set_ylim(bottom - missing / 2, top + missing / 2)


def legend(figure: Figure, analysis: Analysis, *, ideal: str | None = None) -> None:
    """One legend under the panels: the series, the ideal, and what hollow marks and crosses mean where there are any."""
    handles: list[Line2D] = []
    for one in analysis.series:
        if len(analysis.points_of(one)):
            mark = style.mark(one.index, one.control)
            # A label with a leading underscore would be left out.
            label = f" {one.label}" if one.label.startswith("_") else one.label
            handles.append(Line2D([], [], color=mark.colour, linestyle=mark.line, label=label, **_point(mark)))
    if ideal is not None:
        handles.append(Line2D([], [], label=ideal, **IDEAL))
    if len(analysis.suspects):
        look = _point(style.Mark(style.MUTED, "o", ""), hollow=True)
        handles.append(Line2D([], [], linestyle="none", label="suspect trial", **look))
    if len(analysis.failures):
        handles.append(Line2D([], [], linestyle="none", marker="x", color=style.MUTED, label="failed trials"))
    place_legend(figure, handles)


def size_legend(figure: Figure, colours: dict[int, str]) -> None:
    """A legend of cluster sizes by colour."""
    place_legend(
        figure,
        [
            Line2D([], [], color=colour, marker="o", markersize=3, label=f"{size} node{'s' if size > 1 else ''}")
            for size, colour in colours.items()
        ],
    )


def stack_legend(figure: Figure) -> None:
    """A legend of the parts of an epoch."""
    place_legend(figure, [Patch(label=name, **_bar(part, hatch)) for part, name, hatch in _STACK])


def place_legend(figure: Figure, handles: Sequence[Line2D | Patch]) -> None:
    """Put a legend under the panels, in as many columns as fit by its longest label."""
    longest = max((len(str(handle.get_label())) for handle in handles), default=0)
    columns = max(1, min(len(handles), _LEGEND_CHARACTERS // (longest + 7)))
    rows = -(-len(handles) // columns)
    # The legend's further rows must not come out of the panels' height.
    figure.set_figheight(figure.get_figheight() + _LEGEND_ROW_INCHES * (rows - 1))
    figure.legend(handles=list(handles), loc="outside lower center", ncols=columns)
