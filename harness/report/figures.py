"""The figures of a report, drawn without pyplot and so without global state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.report import style, text
from harness.report.analysis import Analysis, time_basis
from harness.report.series import Series

WIDTH_INCHES = 7.0
PNG_DPI = 200
# An SVG of the same numbers has the same bytes.
_METADATA: dict[str, str | None] = {"Date": None, "Creator": None, "Format": None, "Type": None}
_ALL_TICKS = 16


@dataclass(frozen=True)
class FigureFile:
    """A figure on disk: `<stem>.svg` and `<stem>.png`, and what it shows in a sentence."""

    stem: str
    title: str
    caption: str
    svg: Path
    png: Path


@dataclass(frozen=True)
class _Kind:
    stem: str
    title: str
    caption: Callable[[Analysis], str]
    draw: Callable[[Analysis], Figure | None]


def write_figures(analysis: Analysis, directory: Path) -> list[FigureFile]:
    """Draw every figure that the run has data for into `directory` as SVG and PNG; figures of an earlier report go."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in KINDS:
        svg, png = directory / f"{kind.stem}.svg", directory / f"{kind.stem}.png"
        with mpl.rc_context(style.RC):
            figure = kind.draw(analysis)
            if figure is None:
                svg.unlink(missing_ok=True)
                png.unlink(missing_ok=True)
                continue
            figure.savefig(svg, format="svg", metadata=_METADATA)
            figure.savefig(png, format="png", dpi=PNG_DPI, metadata={"Software": None})
        written.append(FigureFile(kind.stem, kind.title, kind.caption(analysis), svg, png))
    return written


def draw_time(analysis: Analysis) -> Figure | None:
    """Time per epoch and in total against nodes, with the ideal: the time at the smallest size divided by the nodes."""
    panels = [
        ("epoch_seconds", "Time per epoch", "training and validation, s"),
        ("total_seconds", "Total time", "start-up included, s"),
    ]
    panels = [panel for panel in panels if _has(analysis, panel[0])]
    if not panels:
        return None
    figure, axes = _row(len(panels))
    for axis, (metric, title, unit) in zip(axes, panels, strict=True):
        _curves(axis, analysis, metric)
        _ideal_times(axis, analysis, metric)
        _finish(axis, analysis, title, unit)
    _legend(figure, analysis, ideal="ideal (linear)")
    return figure


def draw_scaling(analysis: Analysis) -> Figure | None:
    """Speed-up and efficiency against nodes."""
    if not _has(analysis, "speedup"):
        return None
    figure, (left, right) = _row(2)
    base = _base_text(analysis)
    for base_nodes in sorted(set(analysis.points["base_nodes"])):
        sizes = [size for size in analysis.sizes if size >= base_nodes]
        left.plot(sizes, [size / base_nodes for size in sizes], **_IDEAL)
    right.axhline(1.0, **_IDEAL)
    _curves(left, analysis, "speedup")
    _curves(right, analysis, "efficiency")
    _finish(left, analysis, "Speed-up", f"{_basis_text(analysis)} at {base} ÷ at n")
    _finish(right, analysis, "Efficiency", "speed-up ÷ ideal speed-up")
    _percent(right)
    _legend(figure, analysis, ideal="ideal")
    return figure


def draw_throughput(analysis: Analysis) -> Figure | None:
    """Images per second of the cluster; beside it the share of the control's, or else the rate of one node."""
    if not _has(analysis, "images_per_second"):
        return None
    figure, (left, right) = _row(2)
    _curves(left, analysis, "images_per_second")
    _finish(left, analysis, "Training throughput", "images/s, all nodes")
    if _has(analysis, "kept"):
        right.axhline(1.0, **_IDEAL)
        _curves(right, analysis, "kept")
        _finish(right, analysis, "Throughput kept", "share of the control's, no store")
        _percent(right)
    else:
        _curves(right, analysis, "images_per_second_per_node")
        _finish(right, analysis, "Throughput of a node", "images/s per node")
    _legend(figure, analysis, ideal="control (no store)" if _has(analysis, "kept") else None)
    return figure


def draw_accuracy_by_epoch(analysis: Analysis) -> Figure | None:
    """Training and validation accuracy per epoch, one line a cluster size, one row a series."""
    shown = [one for one in analysis.series if _epochs_of(analysis, one).notna().to_numpy().any()]
    if not shown:
        return None
    figure, grid = _grid(shown, height=2.1)
    colours = dict(zip(analysis.sizes, style.size_colours(len(analysis.sizes)), strict=True))
    rows = analysis.epochs
    lowest = rows[["train_accuracy", "validation_accuracy"]].min().min()
    for one, axes in zip(shown, grid, strict=True):
        for axis, metric, title in zip(
            axes, ("train_accuracy", "validation_accuracy"), ("Training accuracy", "Validation accuracy"), strict=True
        ):
            for size, group in rows[rows["series"] == one.index].groupby("nodes"):
                _epoch_line(axis, group, metric, colours[int(str(size))])
            axis.set_ylim(max(0.0, float(lowest) - 0.03), 1.0)
            _titles(axis, _row_title(title, one, shown), "epoch", "accuracy")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            _percent(axis, from_zero=False)
    handles = [
        Line2D([], [], color=colours[size], marker="o", markersize=3, label=text.nodes(size)) for size in colours
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
    return figure


def draw_accuracy_by_nodes(analysis: Analysis) -> Figure | None:
    """Final training and validation accuracy against nodes."""
    panels = [("train_accuracy", "Training accuracy"), ("validation_accuracy", "Validation accuracy")]
    panels = [panel for panel in panels if _has(analysis, panel[0])]
    if not panels:
        return None
    figure, axes = _row(len(panels), share_y=True)
    for axis, (metric, title) in zip(axes, panels, strict=True):
        _curves(axis, analysis, metric)
        _finish(axis, analysis, f"{title} at the end", "accuracy after the last epoch", from_zero=False)
        _percent(axis, from_zero=False)
        _at_least_span(axis, 0.02)
    _legend(figure, analysis)
    return figure


def draw_target(analysis: Analysis) -> Figure | None:
    """Time and epochs to the target accuracy against nodes."""
    if analysis.target is None or not _has(analysis, "target_seconds"):
        return None
    figure, (left, right) = _row(2)
    goal = text.percent(analysis.target.accuracy, 1)
    _curves(left, analysis, "target_seconds")
    _ideal_times(left, analysis, "target_seconds")
    _finish(left, analysis, f"Time to {goal} validation accuracy", "s, start-up not included")
    _curves(right, analysis, "target_epochs")
    _finish(right, analysis, f"Epochs to {goal}", "epochs")
    right.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _legend(figure, analysis, ideal="ideal (linear)")
    return figure


def draw_breakdown(analysis: Analysis) -> Figure | None:
    """Where an epoch's time goes, in seconds and as shares, one row a series."""
    shown = [one for one in analysis.series if analysis.points_of(one)["train_epoch_seconds"].notna().any()]
    if not shown:
        return None
    figure, grid = _grid(shown, height=2.1)
    for one, axes in zip(shown, grid, strict=True):
        points = analysis.points_of(one).dropna(subset=["train_epoch_seconds"])
        for axis, title, unit, scale in (
            (axes[0], "An epoch", "s", 1.0),
            (axes[1], "Shares of an epoch", "share of its time", 1 / points["epoch_seconds"].to_numpy(float)),
        ):
            _stack(axis, points, scale)
            _finish(axis, analysis, _row_title(title, one, shown), unit)
        _percent(axes[1], top=1.0)
    handles = [
        Patch(facecolor=style.part_colour(p), hatch=_HATCH[p], edgecolor=style.PAPER, label=n) for p, n in _PARTS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def draw_telemetry(analysis: Analysis) -> Figure | None:
    """The nodes' health against cluster size: one mark a node and trial, a line through the medians."""
    panels = [panel for panel in _HEALTH if analysis.telemetry[panel[0]].fillna(0.0).any()]
    if not panels:
        return None
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(WIDTH_INCHES, 2.5 * rows + 0.5), layout="constrained")
    for position, (metric, title, unit, scale) in enumerate(panels):
        axis = figure.add_subplot(rows, 2, position + 1)
        for one in analysis.series:
            _health(axis, analysis, one, metric, scale)
        _finish(axis, analysis, title, unit, from_zero=metric != "temperature_celsius")
    _legend(figure, analysis)
    return figure


_IDEAL: dict[str, Any] = {"color": style.MUTED, "linewidth": 1.0, "linestyle": (0, (4, 3)), "zorder": 1.5}
_PARTS = (("compute", "compute"), ("wait", "waiting for the store"), ("validation", "validation"))
_HATCH = {"compute": "", "wait": "////", "validation": "...."}
_HEALTH = (
    ("cpu_percent", "Processor, mean of a trial", "% of one core", 1.0),
    ("temperature_celsius", "Temperature, peak of a trial", "°C", 1.0),
    ("memory_used_bytes", "Memory used, peak of a trial", "MB", 1e-6),
    ("throttled", "Throttled", "% of samples", 100.0),
    ("sent_bytes_per_second", "Sent by a node, mean", "MB/s", 1e-6),
    ("received_bytes_per_second", "Received by a node, mean", "MB/s", 1e-6),
)


def _curves(axis: Axes, analysis: Analysis, metric: str) -> None:
    """Every series: a line through the medians, broken where a planned size has no data, and every trial as a point."""
    for one in analysis.series:
        mark = style.mark(one.index, one.control)
        medians = analysis.points_of(one).set_index("nodes")[metric].reindex(list(analysis.sizes))
        axis.plot(analysis.sizes, medians.to_numpy(float), color=mark.colour, linestyle=mark.line, label=one.label)
        for suspect, trials in analysis.trials_of(one).dropna(subset=[metric]).groupby("suspect"):
            axis.plot(
                trials["nodes"].to_numpy(),
                trials[metric].to_numpy(float),
                linestyle="none",
                **_point(mark, hollow=bool(suspect)),
            )


def _point(mark: style.Mark, *, hollow: bool) -> dict[str, Any]:
    return {
        "marker": mark.marker,
        "markersize": 4.2,
        "markerfacecolor": style.PAPER if hollow else mark.colour,
        "markeredgecolor": mark.colour,
        "markeredgewidth": 1.1,
        "zorder": 3,
    }


def _ideal_times(axis: Axes, analysis: Analysis, metric: str) -> None:
    for one in analysis.subjects:
        points = analysis.points_of(one).dropna(subset=[metric])
        if points.empty:
            continue
        base, seconds = int(points["nodes"].iloc[0]), float(points[metric].iloc[0])
        sizes = [size for size in analysis.sizes if size >= base]
        colour = style.MUTED if len(analysis.subjects) == 1 else style.mark(one.index, one.control).colour
        axis.plot(sizes, [seconds * base / size for size in sizes], **{**_IDEAL, "color": colour, "alpha": 0.7})


def _epoch_line(axis: Axes, group: pd.DataFrame, metric: str, colour: str) -> None:
    epochs, values = group["epoch"].to_numpy(float), group[metric].to_numpy(float)
    axis.plot(epochs, values, color=colour, marker="o", markersize=2.6, linewidth=1.2)


def _stack(axis: Axes, points: pd.DataFrame, scale: Any) -> None:
    bottom = np.zeros(len(points))
    for part, _ in _PARTS:
        height = points[f"{part}_epoch_seconds"].fillna(0.0).to_numpy(float) * scale
        axis.bar(
            points["nodes"].to_numpy(),
            height,
            width=0.72,
            bottom=bottom,
            color=style.part_colour(part),
            hatch=_HATCH[part],
            edgecolor=style.PAPER,
            linewidth=0.5,
        )
        bottom = bottom + height


def _health(axis: Axes, analysis: Analysis, one: Series, metric: str, scale: float) -> None:
    rows = analysis.telemetry[analysis.telemetry["series"] == one.index].dropna(subset=[metric])
    mark = style.mark(one.index, one.control)
    medians = rows.groupby("nodes")[metric].median().reindex(list(analysis.sizes)) * scale
    axis.plot(analysis.sizes, medians.to_numpy(float), color=mark.colour, linestyle=mark.line, label=one.label)
    for suspect, there in rows.groupby("suspect"):
        point = {**_point(mark, hollow=bool(suspect)), "markersize": 2.6, "markeredgewidth": 0.7, "alpha": 0.7}
        axis.plot(there["nodes"].to_numpy(), there[metric].to_numpy(float) * scale, linestyle="none", **point)


def _row(panels: int, *, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH_INCHES if panels > 1 else WIDTH_INCHES / 1.4, 3.2), layout="constrained")
    first = figure.add_subplot(1, panels, 1)
    return figure, [
        first,
        *(figure.add_subplot(1, panels, n, sharey=first if share_y else None) for n in range(2, panels + 1)),
    ]


def _grid(shown: Sequence[Series], height: float) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    rows = len(shown)
    figure = Figure(figsize=(WIDTH_INCHES, height * rows + 0.8), layout="constrained")
    return figure, [
        (figure.add_subplot(rows, 2, 2 * r + 1), figure.add_subplot(rows, 2, 2 * r + 2)) for r in range(rows)
    ]


def _finish(axis: Axes, analysis: Analysis, title: str, unit: str, *, from_zero: bool = True) -> None:
    _titles(axis, title, "nodes", unit)
    sizes = analysis.sizes
    axis.set_xlim(min(sizes) - 0.6, max(sizes) + 0.6)
    if len(sizes) <= _ALL_TICKS:
        axis.set_xticks(sizes)
    else:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if from_zero:
        axis.set_ylim(bottom=0)
    _failed_sizes(axis, analysis)


def _failed_sizes(axis: Axes, analysis: Analysis) -> None:
    """A cross on the axis where trials of a size failed, so that a gap is not taken for a size that was never asked for."""
    failed = sorted(set(analysis.failures["nodes"]))
    if not failed:
        return
    axis.plot(
        failed,
        np.full(len(failed), 0.0),
        transform=axis.get_xaxis_transform(),
        linestyle="none",
        marker="x",
        markersize=5,
        color=style.MUTED,
        clip_on=False,
        zorder=4,
    )


def _titles(axis: Axes, title: str, x: str, y: str) -> None:
    axis.set_title(title)
    axis.set_xlabel(x)
    axis.set_ylabel(y)


def _at_least_span(axis: Axes, span: float) -> None:
    """Keep an axis from blowing up differences that mean nothing, as where there is one point only."""
    low, high = axis.get_ylim()
    if high - low < span:
        middle = (low + high) / 2
        axis.set_ylim(middle - span / 2, middle + span / 2)


def _percent(axis: Axes, *, from_zero: bool = True, top: float | None = None) -> None:
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.4g}%"))
    if from_zero:
        axis.set_ylim(0, top if top is not None else max(1.05, axis.get_ylim()[1]))


def _legend(figure: Figure, analysis: Analysis, *, ideal: str | None = None) -> None:
    """One legend under the panels: the series, the ideal, and what hollow marks and crosses mean where there are."""
    handles: list[Line2D] = []
    for one in analysis.series:
        if analysis.points_of(one).empty:
            continue
        mark = style.mark(one.index, one.control)
        label = f"{one.label} (control)" if one.control and one.label != "none" else one.label
        handles.append(
            Line2D([], [], color=mark.colour, linestyle=mark.line, label=label, **_point(mark, hollow=False))
        )
    if ideal is not None:
        handles.append(Line2D([], [], label=ideal, **_IDEAL))
    plain = style.Mark(style.MUTED, "o", "")
    if len(analysis.suspects):
        handles.append(Line2D([], [], linestyle="none", label="suspect trial", **_point(plain, hollow=True)))
    if len(analysis.failures):
        handles.append(Line2D([], [], linestyle="none", marker="x", color=style.MUTED, label="failed trials"))
    figure.legend(handles=handles, loc="outside lower center", ncols=_columns([str(h.get_label()) for h in handles]))


def _columns(labels: Sequence[str]) -> int:
    """As many legend columns as fit the width, by the longest label."""
    return max(1, min(len(labels), 100 // (max(map(len, labels), default=1) + 7)))


def _row_title(title: str, one: Series, shown: Sequence[Series]) -> str:
    return title if len(shown) == 1 else f"{title}: {one.label}"


def _epochs_of(analysis: Analysis, one: Series) -> pd.DataFrame:
    rows = analysis.epochs[analysis.epochs["series"] == one.index]
    return rows[["train_accuracy", "validation_accuracy"]]


def _has(analysis: Analysis, metric: str) -> bool:
    return bool(analysis.trials[metric].notna().any())


def _base_text(analysis: Analysis) -> str:
    bases = sorted(set(analysis.points["base_nodes"]))
    return text.nodes(bases[0]) if len(bases) == 1 else "the smallest size"


def _basis_text(analysis: Analysis) -> str:
    return "epoch" if time_basis(analysis.trials) == "epoch_seconds" else "total time"


def _caption_telemetry(analysis: Analysis) -> str:
    throttled = analysis.telemetry["throttled"]
    seen = " No node was throttled." if throttled.notna().any() and not throttled.any() else ""
    return f"One mark a node and trial; lines go through the medians.{seen}"


KINDS = (
    _Kind(
        "time",
        "Training time against cluster size",
        lambda _: (
            "Every point is a trial; lines go through the medians of the repeats. Ideal: the time at the smallest size, "
            "divided by the growth in nodes."
        ),
        draw_time,
    ),
    _Kind(
        "scaling",
        "Speed-up and efficiency",
        lambda a: f"Speed-up of the {_basis_text(a)}, each series against itself at {_base_text(a)}.",
        draw_scaling,
    ),
    _Kind(
        "throughput",
        "Throughput",
        lambda a: (
            "Left: all nodes together while training. Right: share of the throughput that the same nodes reach when "
            "they train independently."
            if _has(a, "kept")
            else "While training: all nodes together, and one of them."
        ),
        draw_throughput,
    ),
    _Kind(
        "accuracy_by_epoch",
        "Accuracy per epoch",
        lambda _: "Medians of the repeats, one line a cluster size.",
        draw_accuracy_by_epoch,
    ),
    _Kind(
        "accuracy_by_nodes",
        "Accuracy against cluster size",
        lambda _: "After the last epoch. The axis does not begin at zero.",
        draw_accuracy_by_nodes,
    ),
    _Kind(
        "target",
        "Time to a target accuracy",
        lambda _: "What counts in the end: faster epochs do not help where more of them are needed.",
        draw_target,
    ),
    _Kind(
        "breakdown",
        "Where an epoch's time goes",
        lambda _: (
            "Medians of the repeats. Waiting is the mean worker's time blocked on the store; compute is the slowest "
            "worker's training time less that."
        ),
        draw_breakdown,
    ),
    _Kind(
        "telemetry",
        "Health of the nodes",
        _caption_telemetry,
        draw_telemetry,
    ),
)
