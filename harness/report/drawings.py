"""What is drawn: a function a figure, None where the run has no data for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from harness.analysis.analysis import Analysis
from harness.analysis.measures import BASES, speedup_basis
from harness.display import style, text
from harness.report import bars, parts
from harness.report.tables import goal_text

_HEALTH = (
    ("cpu_percent", "Processor, mean of a trial", "% of one core", 1.0),
    ("temperature_celsius", "Temperature, peak of a trial", "°C", 1.0),
    ("memory_used_bytes", "Memory used, peak of a trial", "MB", 1e-6),
    ("throttled", "Throttled", "% of samples", 100.0),
    ("sent_bytes_per_second", "Sent by a node, mean", "MB/s", 1e-6),
    ("received_bytes_per_second", "Received by a node, mean", "MB/s", 1e-6),
)


def draw_time(analysis: Analysis) -> Figure | None:
    """Time per epoch and in total against nodes, with the ideal; not where the sizes' epochs are not of the same images."""
    if speedup_basis(analysis.trials) == "images_per_second":
        return None
    panels = [
        ("epoch_seconds", "Time per epoch", "training and validation, s"),
        ("total_seconds", "Total time", "start-up included, s"),
    ]
    panels = [panel for panel in panels if has(analysis, panel[0])]
    if not panels:
        return None
    if of_one_size(analysis):
        return _beside_each_other(analysis, panels)
    figure, axes = parts.row(len(panels))
    for axis, (metric, title, unit) in zip(axes, panels, strict=True):
        parts.curves(axis, analysis, metric)
        parts.ideal_times(axis, analysis, metric)
        parts.finish(axis, analysis, title, unit)
        parts.from_zero(axis)
    parts.legend(figure, analysis, ideal="ideal (linear)")
    return figure


def draw_scaling(analysis: Analysis) -> Figure | None:
    """Speed-up and efficiency against nodes."""
    if not has(analysis, "speedup") or (analysis.points["nodes"] == analysis.points["base_nodes"]).all():
        return None  # of one size there is none
    panels = 2 if has(analysis, "efficiency") else 1
    figure, axes = parts.row(panels)
    left, right = axes[0], axes[-1]
    parts.ideal_speedups(left, analysis)
    parts.curves(left, analysis, "speedup")
    parts.finish(left, analysis, "Speed-up", _speedup_label(analysis))
    parts.from_zero(left)
    if panels == 1:
        parts.legend(figure, analysis, ideal="ideal")
        return figure
    right.axhline(1.0, **parts.IDEAL)
    parts.curves(right, analysis, "efficiency")
    independent = analysis.efficiency_basis == "independent"
    parts.finish(
        right, analysis, "Efficiency", "share of independent training" if independent else "speed-up ÷ ideal speed-up"
    )
    parts.percent(right, low=0.0)
    parts.legend(figure, analysis, ideal="ideal")
    return figure


def draw_throughput(analysis: Analysis) -> Figure | None:
    """Images per second of the cluster, and beside it of one node; of one size, series against each other."""
    if not has(analysis, "images_per_second"):
        return None
    if of_one_size(analysis):
        return _beside_each_other(analysis, [("images_per_second", "Training throughput", "images/s, all nodes")])
    figure, (left, right) = parts.row(2)
    parts.curves(left, analysis, "images_per_second")
    parts.finish(left, analysis, "Training throughput", "images/s, all nodes")
    parts.from_zero(left)
    parts.curves(right, analysis, "images_per_second_per_node")
    parts.finish(right, analysis, "Throughput of a node", "images/s per node")
    parts.from_zero(right)
    parts.legend(figure, analysis)
    return figure


def draw_accuracy_by_epoch(analysis: Analysis) -> Figure | None:
    """Training and validation accuracy per epoch: one line a cluster size, or of several series one each at the largest."""
    rows = analysis.epochs.dropna(subset=["train_accuracy", "validation_accuracy"], how="all")
    if rows.empty:
        return None
    subjects = [one for one in analysis.series if one.index in set(rows["series"])]
    largest = int(rows["nodes"].max())
    if len(subjects) == 1:
        key, where = "nodes", ""
        colours = dict(zip(analysis.sizes, style.size_colours(len(analysis.sizes)), strict=True))
        marks = {size: style.Mark(colour, "o", "-") for size, colour in colours.items()}
    else:
        rows = rows[rows["nodes"] == largest]
        key, where = "series", f" at {text.nodes(largest)}"
        marks = {one.index: style.mark(one.index, one.control) for one in subjects}
    panels = [("train_accuracy", "Training accuracy"), ("validation_accuracy", "Validation accuracy")]
    panels = [panel for panel in panels if rows[panel[0]].notna().any()]
    lowest = max(0.0, float(rows[[metric for metric, _ in panels]].min().min()) - 0.03)
    figure, axes = parts.row(len(panels))
    for axis, (metric, title) in zip(axes, panels, strict=True):
        for index, line in rows.groupby(key):
            mark, epochs = marks[int(str(index))], line["epoch"].to_numpy(float)
            look: dict[str, Any] = {"color": mark.colour, "marker": mark.marker, "linestyle": mark.line}
            axis.plot(epochs, line[metric].to_numpy(float), markersize=2.6, linewidth=1.2, **look)
            parts.band(axis, epochs, line[[f"{metric}_low", f"{metric}_high"]].to_numpy(float), mark.colour)
        parts.titles(axis, f"{title}{where}", "epoch", "accuracy")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        parts.percent(axis, low=lowest, high=1.0)
    if key == "nodes":
        parts.size_legend(figure, {size: marks[size].colour for size in sorted(set(rows["nodes"]))})
    else:
        parts.legend(figure, analysis)
    return figure


def draw_accuracy_by_nodes(analysis: Analysis) -> Figure | None:
    """Final training and validation accuracy against nodes."""
    unit = "accuracy after the last epoch"
    panels = [
        ("train_accuracy", "Training accuracy", unit),
        ("validation_accuracy", "Validation accuracy", unit),
    ]
    panels = [panel for panel in panels if has(analysis, panel[0])]
    if not panels:
        return None
    if of_one_size(analysis):
        return _beside_each_other(analysis, panels, from_zero=False)
    figure, axes = parts.row(len(panels), share_y=True)
    for axis, (metric, title, unit) in zip(axes, panels, strict=True):
        parts.curves(axis, analysis, metric)
        parts.finish(axis, analysis, f"{title} at the end", unit)
    # Only now: the panels share an axis, and setting its limits ends their growing with the data.
    parts.percent(axes[0], most=1.0)
    parts.legend(figure, analysis)
    return figure


def draw_goals(analysis: Analysis) -> Figure | None:
    """Time to the accuracies to lead with against nodes, each size with its quickest policy."""
    goals = analysis.goals[np.isfinite(analysis.goals["seconds"])]
    shown = [accuracy for accuracy in analysis.headlines if (goals["accuracy"] == accuracy).any()]
    if not shown:
        return None
    figure, axes = parts.row(len(shown))
    for axis, accuracy in zip(axes, shown, strict=True):
        parts.goal_curves(axis, analysis, accuracy)
        unit = "s of training" if analysis.goals_note else "s, start-up not included"
        parts.finish(axis, analysis, f"Time to {goal_text(accuracy)} validation accuracy", unit)
        parts.from_zero(axis)
    parts.goal_legend(figure, analysis)
    return figure


def draw_breakdown(analysis: Analysis) -> Figure | None:
    """Where an epoch's time goes: over the nodes and as shares, or series against each other at the largest size."""
    points = analysis.points.dropna(subset=["compute_epoch_seconds"])
    shown = [one for one in analysis.series if one.index in set(points["series"])]
    if not shown:
        return None
    if len(shown) > 1:
        rows = points[points["nodes"] == points["nodes"].max()]
        names = {one.index: one.label for one in analysis.series}
        figure, axis = parts.lying(len(rows))
        bars.stack_lying(axis, rows, [names[index] for index in rows["series"]])
        parts.titles(axis, f"An epoch at {text.nodes(rows['nodes'].iloc[0])}", "s", "")
        bars.stack_legend(figure, points)
        return figure
    figure, (upper, lower) = parts.row(2)
    failed = sorted(set(analysis.failures["nodes"]) - set(points["nodes"]))
    bars.stack(upper, points, 1.0)
    parts.finish(upper, analysis, "An epoch", "s", failed=failed)
    bars.stack(lower, points, 1 / points["epoch_seconds"].to_numpy(float))
    parts.finish(lower, analysis, "Shares of an epoch", "share of its time", failed=failed)
    parts.percent(lower, low=0.0, high=1.0)
    bars.stack_legend(figure, points)
    return figure


def draw_steps(analysis: Analysis) -> Figure | None:
    """Where a step's time goes: over the nodes, or series against each other at the largest size that was measured."""
    rows = analysis.steps
    if rows.empty:
        return None
    if rows["series"].nunique() == 1:
        figure, (axis,) = parts.row(1)
        bars.step_bars(axis, rows)
        parts.finish(axis, analysis, "A step", "ms")
        parts.from_zero(axis)
    else:
        rows = rows[rows["nodes"] == rows["nodes"].max()]
        names = {one.index: one.label for one in analysis.series}
        figure, axis = parts.lying(len(rows))
        bars.step_bars(axis, rows, [names[index] for index in rows["series"]])
        parts.titles(axis, f"A step at {text.nodes(rows['nodes'].iloc[0])}", "ms", "")
    bars.step_legend(figure, rows)
    return figure


def draw_telemetry(analysis: Analysis) -> Figure | None:
    """The nodes' health against cluster size; what was zero or unknown throughout is left out."""
    panels = [panel for panel in _HEALTH if analysis.telemetry[panel[0]].fillna(0.0).any()]
    if not panels:
        return None
    figure, axes = parts.row(len(panels))
    for axis, (metric, title, unit, scale) in zip(axes, panels, strict=True):
        parts.health(axis, analysis, metric, scale)
        parts.finish(axis, analysis, title, unit)
        if metric != "temperature_celsius":
            parts.from_zero(axis)
    parts.legend(figure, analysis)
    return figure


def of_one_size(analysis: Analysis) -> bool:
    """Whether there are several series, all of one cluster size: they are compared with each other then."""
    return len(analysis.points) > 1 and analysis.points["nodes"].nunique() == 1


def _beside_each_other(analysis: Analysis, panels: Sequence[tuple[str, str, str]], *, from_zero: bool = True) -> Figure:
    """The series of one size below each other, a panel a metric (its column, title and unit)."""
    size, labels = text.nodes(analysis.points["nodes"].iloc[0]), {one.index: one for one in analysis.series}
    known = [analysis.points.dropna(subset=[metric]) for metric, _, _ in panels]
    figure, axes = parts.lying_panels(max(map(len, known)), len(panels))
    for axis, rows, (metric, title, unit) in zip(axes, known, panels, strict=True):
        shown = [labels[index] for index in rows["series"]]
        colours = [style.mark(one.index, one.control).colour for one in shown]
        bars.medians_lying(axis, rows, metric, colours, [one.label for one in shown], from_zero=from_zero)
        parts.titles(axis, f"{title} at {size}", unit, "")
        if not from_zero:
            left, right = axis.get_xlim()
            axis.set_xlim(left, parts.capped(left, right, 1.0))
            axis.xaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def has(analysis: Analysis, metric: str) -> bool:
    """Whether any trial has a metric."""
    return bool(analysis.trials[metric].notna().any())


def base_sizes(analysis: Analysis) -> str:
    """The cluster size that speed-ups are relative to, in words."""
    bases = sorted(set(analysis.points["base_nodes"]))
    return text.nodes(bases[0]) if len(bases) == 1 else "the smallest size"


def basis(analysis: Analysis) -> str:
    """What speed-ups compare, in words."""
    return BASES[speedup_basis(analysis.trials)]


def _speedup_label(analysis: Analysis) -> str:
    base = base_sizes(analysis)
    if speedup_basis(analysis.trials) == "images_per_second":
        return f"{basis(analysis)} at n ÷ at {base}"
    return f"{basis(analysis)} at {base} ÷ at n"
