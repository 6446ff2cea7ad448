"""Homes that learn from streams: what they know of their own images, of all, and of the world as it was."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.analysis import Analysis
from harness.contract import wire
from harness.display import style
from harness.report import parts
from harness.report.courses import costs, lines
from harness.report.courses.events import Events, number

_PANELS = (
    ("own_accuracy", "Own images, before training on them"),
    ("all_accuracy", "All classes, in the world as it is"),
    ("old_accuracy", "All classes, in the world as it was"),
)


def caption(_: Analysis) -> str:
    """Of the figure."""
    return (
        "Means over the homes, medians of the repeats, a mark a window. Dashed lines are moments at which the world changed. "
        "Where homes share values, all classes are judged by the shared ones. Bytes are what a node sent until then."
    )


def draw(analysis: Analysis, epochs: pd.DataFrame, events: Events) -> Figure | None:
    """Accuracies and bytes over the stream's ticks; None for a run without such events.

    Args:
        analysis: of the run.
        epochs: frame with the columns, dtypes and units of epochs.csv.
        events: of the run.
    """
    if analysis.trials.empty:
        return None
    trials = lines.at_the_largest(analysis)
    rows, moments = _windows(trials, events)
    if rows.empty:
        return None
    ticks = rows.groupby(wire.WINDOW)["tick"].first()
    found = lines.medians(rows, "tick", [metric for metric, _ in _PANELS])
    sent = costs.table(epochs, trials)
    sent = sent.assign(tick=sent["epoch"].map(ticks))
    figure, axes = parts.row(len(_PANELS) + 1)
    for axis, (metric, title) in zip(axes, _PANELS, strict=False):
        lines.draw(axis, analysis, found, "tick", metric)
        parts.titles(axis, title, "ticks of the stream", "accuracy")
        parts.percent(axis, low=0.0, high=1.0)
    lines.draw(axes[-1], analysis, sent, "tick", "megabytes")
    parts.titles(axes[-1], "Bytes", "ticks of the stream", "sent by a node, MB")
    parts.from_zero(axes[-1])
    for axis in axes:
        axis.set_xlim(0, float(ticks.max()) * 1.02)
        _mark(axis, moments)
    parts.legend(figure, analysis)
    return figure


def _windows(trials: pd.DataFrame, events: Events) -> tuple[pd.DataFrame, list[float]]:
    """A row a trial and window, means over its homes; and the ticks after which the world changed."""
    rows, moments = [], set()
    for trial, series in zip(trials["trial"], trials["series"], strict=True):
        found = events.of(str(trial), wire.WINDOW)
        seen: dict[float, float] = {}
        for event in found:
            seen[number(event, "tick")] = number(event, "changed")
        ends = sorted(seen)
        moments |= {before for before, tick in pairwise(ends) if seen[tick] > seen[before]}
        table = pd.DataFrame(
            [
                [number(event, key) for key in (wire.WINDOW, "tick", *(metric for metric, _ in _PANELS))]
                for event in found
            ],
            columns=[wire.WINDOW, "tick", *(metric for metric, _ in _PANELS)],
        )
        table = table.groupby([wire.WINDOW, "tick"], as_index=False).mean()
        rows.append(table.assign(series=series))
    return pd.concat(rows, ignore_index=True), sorted(moments)


def _mark(axis: Axes, moments: list[float]) -> None:
    for moment in moments:
        if np.isfinite(moment):
            axis.axvline(moment, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
