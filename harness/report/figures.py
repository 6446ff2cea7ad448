"""The figures of a report, drawn without pyplot and so without global state."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.report import parts, style, text
from harness.report.analysis import Analysis, time_basis
from harness.report.series import Series

PNG_DPI = 200
# Without a date and a version the same numbers give the same bytes.
_SVG_METADATA: dict[str, str | None] = {"Date": None, "Creator": None, "Format": None, "Type": None}
_PNG_METADATA: dict[str, str | None] = {"Software": None}

# A longer label gets its own line in the title of a panel.
_SHORT_LABEL = 14
_TITLE_CHARACTERS = 32

_HEALTH = (
    ("cpu_percent", "Processor, mean of a trial", "% of one core", 1.0),
    ("temperature_celsius", "Temperature, peak of a trial", "°C", 1.0),
    ("memory_used_bytes", "Memory used, peak of a trial", "MB", 1e-6),
    ("throttled", "Throttled", "% of samples", 100.0),
    ("sent_bytes_per_second", "Sent by a node, mean", "MB/s", 1e-6),
    ("received_bytes_per_second", "Received by a node, mean", "MB/s", 1e-6),
)


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
            figure.savefig(svg, format="svg", metadata=_SVG_METADATA)
            # The layout is found; finding it again for the second file would take as long.
            figure.set_layout_engine("none")
            figure.savefig(png, format="png", dpi=PNG_DPI, metadata=_PNG_METADATA)
        written.append(FigureFile(kind.stem, kind.title, kind.caption(analysis), svg, png))
    return written


def draw_time(analysis: Analysis) -> Figure | None:
    """Time per epoch and in total against nodes, with the ideal."""
    panels = [
        ("epoch_seconds", "Time per epoch", "training and validation, s"),
        ("total_seconds", "Total time", "start-up included, s"),
    ]
    panels = [panel for panel in panels if _has(analysis, panel[0])]
    if not panels:
        return None
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
    if not _has(analysis, "speedup"):
        return None
    figure, (left, right) = parts.row(2)
    parts.ideal_speedups(left, analysis)
    parts.curves(left, analysis, "speedup")
    parts.finish(left, analysis, "Speed-up", f"{_basis(analysis)} at {_base(analysis)} ÷ at n")
    parts.from_zero(left)
    right.axhline(1.0, **parts.IDEAL)
    parts.curves(right, analysis, "efficiency")
    parts.finish(right, analysis, "Efficiency", "speed-up ÷ ideal speed-up")
    parts.percent(right, low=0.0)
    parts.legend(figure, analysis, ideal="ideal")
    return figure


def draw_throughput(analysis: Analysis) -> Figure | None:
    """Images per second of the cluster; beside it the share of the control's, or else the rate of one node."""
    if not _has(analysis, "images_per_second"):
        return None
    figure, (left, right) = parts.row(2)
    parts.curves(left, analysis, "images_per_second")
    parts.finish(left, analysis, "Training throughput", "images/s, all nodes")
    parts.from_zero(left)
    if _has(analysis, "kept"):
        right.axhline(1.0, **parts.IDEAL)
        parts.curves(right, analysis, "kept")
        parts.finish(right, analysis, "Throughput kept", "share of the control's")
        parts.percent(right, low=0.0)
        parts.legend(figure, analysis, ideal="control, no store")
    else:
        parts.curves(right, analysis, "images_per_second_per_node")
        parts.finish(right, analysis, "Throughput of a node", "images/s per node")
        parts.from_zero(right)
        parts.legend(figure, analysis)
    return figure


def draw_accuracy_by_epoch(analysis: Analysis) -> Figure | None:
    """Training and validation accuracy per epoch, one line a cluster size, one row a series."""
    rows = analysis.epochs.dropna(subset=["train_accuracy", "validation_accuracy"], how="all")
    shown = [one for one in analysis.series if one.index in set(rows["series"])]
    if not shown:
        return None
    figure, grid = parts.grid(len(shown), height_inches=2.2)
    colours = dict(zip(analysis.sizes, style.size_colours(len(analysis.sizes)), strict=True))
    lowest = max(0.0, float(rows[["train_accuracy", "validation_accuracy"]].min().min()) - 0.03)
    for one, axes in zip(shown, grid, strict=True):
        own = rows[rows["series"] == one.index]
        for axis, metric, title in (
            (axes[0], "train_accuracy", "Training accuracy"),
            (axes[1], "validation_accuracy", "Validation accuracy"),
        ):
            for size in sorted(set(own["nodes"])):
                line = own[own["nodes"] == size]
                epochs, values = line["epoch"].to_numpy(float), line[metric].to_numpy(float)
                axis.plot(epochs, values, color=colours[size], marker="o", markersize=2.6, linewidth=1.2)
            parts.titles(axis, _row_title(title, one, shown), "epoch", "accuracy")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            parts.percent(axis, low=lowest, high=1.0)
    parts.size_legend(figure, {size: colours[size] for size in sorted(set(rows["nodes"]))})
    return figure


def draw_accuracy_by_nodes(analysis: Analysis) -> Figure | None:
    """Final training and validation accuracy against nodes."""
    panels = [("train_accuracy", "Training accuracy"), ("validation_accuracy", "Validation accuracy")]
    panels = [panel for panel in panels if _has(analysis, panel[0])]
    if not panels:
        return None
    figure, axes = parts.row(len(panels), share_y=True)
    for axis, (metric, title) in zip(axes, panels, strict=True):
        parts.curves(axis, analysis, metric)
        parts.finish(axis, analysis, f"{title} at the end", "accuracy after the last epoch")
    # Only now: the panels share an axis, and setting its limits ends their growing with the data.
    parts.percent(axes[0])
    parts.legend(figure, analysis)
    return figure


def draw_target(analysis: Analysis) -> Figure | None:
    """Time and epochs to the target accuracy against nodes."""
    if analysis.target is None or not _has(analysis, "target_seconds"):
        return None
    figure, (left, right) = parts.row(2)
    goal = text.percent(analysis.target.accuracy, 1)
    parts.curves(left, analysis, "target_seconds")
    parts.ideal_times(left, analysis, "target_seconds")
    parts.finish(left, analysis, f"Time to {goal} validation accuracy", "s, start-up not included")
    parts.from_zero(left)
    parts.curves(right, analysis, "target_epochs")
    parts.finish(right, analysis, f"Epochs to {goal}", "epochs")
    parts.from_zero(right, integers=True)
    parts.legend(figure, analysis, ideal="ideal (linear)")
    return figure


def draw_breakdown(analysis: Analysis) -> Figure | None:
    """Where an epoch's time goes, in seconds and as shares, one row a series."""
    points = analysis.points.dropna(subset=["compute_epoch_seconds"])
    shown = [one for one in analysis.series if one.index in set(points["series"])]
    if not shown:
        return None
    figure, grid = parts.grid(len(shown), height_inches=2.2)
    for one, (left, right) in zip(shown, grid, strict=True):
        own = points[points["series"] == one.index]
        failures = analysis.failures
        failed = sorted(set(failures[failures["series"] == one.index]["nodes"]) - set(own["nodes"]))
        parts.stack(left, own, 1.0)
        parts.finish(left, analysis, _row_title("An epoch", one, shown), "s", failed=failed)
        parts.stack(right, own, 1 / own["epoch_seconds"].to_numpy(float))
        parts.finish(right, analysis, _row_title("Shares of an epoch", one, shown), "share of its time", failed=failed)
        parts.percent(right, low=0.0, high=1.0)
    parts.stack_legend(figure)
    return figure


def draw_steps(analysis: Analysis) -> Figure | None:
    """Where a step's time goes: over the nodes, or series against each other at the largest size that was measured."""
    rows = analysis.steps
    if rows.empty:
        return None
    if rows["series"].nunique() == 1:
        figure, (axis,) = parts.row(1)
        parts.step_bars(axis, rows)
        parts.finish(axis, analysis, "A step", "ms")
        parts.from_zero(axis)
    else:
        rows = rows[rows["nodes"] == rows["nodes"].max()]
        names = {one.index: one.label for one in analysis.series}
        figure, axis = parts.lying(len(rows))
        parts.step_bars(axis, rows, [names[index] for index in rows["series"]])
        parts.titles(axis, f"A step at {text.nodes(rows['nodes'].iloc[0])}", "ms", "")
    parts.step_legend(figure, rows)
    return figure


def draw_telemetry(analysis: Analysis) -> Figure | None:
    """The nodes' health against cluster size; what was zero or unknown throughout is left out."""
    panels = [panel for panel in _HEALTH if analysis.telemetry[panel[0]].fillna(0.0).any()]
    if not panels:
        return None
    figure, grid = parts.grid((len(panels) + 1) // 2, height_inches=2.3)
    axes = [axis for pair in grid for axis in pair]
    for axis, (metric, title, unit, scale) in zip(axes, panels, strict=False):
        parts.health(axis, analysis, metric, scale)
        parts.finish(axis, analysis, title, unit)
        if metric != "temperature_celsius":
            parts.from_zero(axis)
    for axis in axes[len(panels) :]:
        axis.remove()
    parts.legend(figure, analysis)
    return figure


def _has(analysis: Analysis, metric: str) -> bool:
    return bool(analysis.trials[metric].notna().any())


def _row_title(title: str, one: Series, shown: Sequence[Series]) -> str:
    if len(shown) == 1:
        return title
    if len(one.label) <= _SHORT_LABEL:
        return f"{title}: {one.label}"
    return f"{title}:\n{textwrap.fill(one.label, _TITLE_CHARACTERS)}"


def _base(analysis: Analysis) -> str:
    bases = sorted(set(analysis.points["base_nodes"]))
    return text.nodes(bases[0]) if len(bases) == 1 else "the smallest size"


def _basis(analysis: Analysis) -> str:
    return "epoch" if time_basis(analysis.trials) == "epoch_seconds" else "total time"


def _caption_time(_: Analysis) -> str:
    return (
        "Every point is a trial; lines go through the medians of the repeats. Ideal: the time at the smallest size, divided "
        "by the growth in nodes."
    )


def _caption_scaling(analysis: Analysis) -> str:
    return f"Speed-up of the {_basis(analysis)}, each series against itself at {_base(analysis)}."


def _caption_throughput(analysis: Analysis) -> str:
    if _has(analysis, "kept"):
        return (
            "Left: all nodes together while training, without the first epoch where there are more. "
            "Right: share of the throughput that the same nodes reach when they train independently."
        )
    return "While training, without the first epoch where there are more: all nodes together, and one of them."


def _caption_accuracy(analysis: Analysis) -> str:
    batches = analysis.points["global_batch"].dropna()
    grown = (
        f" The global batch grows with the nodes, from {batches.min():.0f} to {batches.max():.0f} images."
        if len(batches) and batches.max() > batches.min()
        else ""
    )
    return f"After the last epoch. The axis does not begin at zero.{grown}"


def _caption_telemetry(analysis: Analysis) -> str:
    throttled = analysis.telemetry["throttled"]
    none = " No node was throttled." if throttled.notna().any() and not throttled.any() else ""
    return f"One mark a node and trial; lines go through the medians.{none}"


def _caption_breakdown(_: Analysis) -> str:
    return (
        "Medians of the repeats. Waiting is the mean worker's time blocked on the store; compute is the slowest worker's "
        "training time less that."
    )


def _caption_steps(_: Analysis) -> str:
    return (
        "The mean worker, medians of the repeats. A phase that a store or program cannot tell apart is in the one in which it "
        "happens: with servers push is in backward, pull and update in waiting; with PyTorch's DDP all three are in backward."
    )


KINDS = (
    _Kind("time", "Training time against cluster size", _caption_time, draw_time),
    _Kind("scaling", "Speed-up and efficiency", _caption_scaling, draw_scaling),
    _Kind("throughput", "Throughput", _caption_throughput, draw_throughput),
    _Kind(
        "accuracy_by_epoch",
        "Accuracy per epoch",
        lambda _: "Medians of the repeats, one line a cluster size. The axis does not begin at zero.",
        draw_accuracy_by_epoch,
    ),
    _Kind("accuracy_by_nodes", "Accuracy against cluster size", _caption_accuracy, draw_accuracy_by_nodes),
    _Kind(
        "target",
        "Time to a target accuracy",
        lambda _: "What counts in the end: faster epochs do not help where more of them are needed.",
        draw_target,
    ),
    _Kind("breakdown", "Where an epoch's time goes", _caption_breakdown, draw_breakdown),
    _Kind("steps", "Where a step's time goes", _caption_steps, draw_steps),
    _Kind("telemetry", "Health of the nodes", _caption_telemetry, draw_telemetry),
)
