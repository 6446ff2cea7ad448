"""Volunteers: each node's share of the images, and images of tasks that did not count."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from harness.analysis.analysis import Analysis
from harness.contract import wire
from harness.display import style
from harness.report import parts
from harness.report.courses import lines
from harness.report.courses.events import Events

_NAME_CHARACTERS = 24
_COUNTED, _LOST = "compute", "wait"


def caption(_: Analysis) -> str:
    """Of the figure."""
    return (
        "Medians of the repeats, at the largest size, as parts of the run's images. Lost are those of tasks that did not "
        "count: the node vanished, another was first, or the result was refused. Others did them again."
    )


def table(analysis: Analysis, events: Events) -> pd.DataFrame:
    """A row a series and node.

    Returns:
        Frame with columns `series` (int64), `node` (text), `share` and `lost` (float64, fractions of the images that counted).
    """
    trials = lines.at_the_largest(analysis)
    rows = []
    for trial, series in zip(trials["trial"], trials["series"], strict=True):
        found = events.of(str(trial), wire.VOLUNTEERS)
        shares, lost = (_counts(found[-1].get(key)) if found else {} for key in ("shares", "done_again"))
        total = sum(shares.values())
        for node in sorted({*shares, *lost}) if total else ():
            rows.append((series, node, shares.get(node, 0.0) / total, lost.get(node, 0.0) / total))
    frame = pd.DataFrame(rows, columns=["series", "node", "share", "again"])
    return frame.groupby(["series", "node"], as_index=False)[["share", "again"]].median()


def draw(analysis: Analysis, events: Events) -> Figure | None:
    """A bar a series and node; None for a run without volunteers."""
    if analysis.trials.empty:
        return None
    found = table(analysis, events)
    if found.empty:
        return None
    labels = {one.index: one.label for one in analysis.series}
    several = found["series"].nunique() > 1
    figure, axis = parts.lying(len(found))
    place, left = np.arange(len(found)), np.zeros(len(found))
    for column, part, hatch in (("share", _COUNTED, ""), ("again", _LOST, "////")):
        look: dict[str, Any] = {"color": style.part_colour(part), "hatch": hatch, "edgecolor": style.PAPER}
        axis.barh(place, 100 * found[column].to_numpy(float), height=0.72, left=left, linewidth=0.5, **look)
        left = left + 100 * found[column].to_numpy(float)
    names = [
        f"{labels.get(series, '')}, {node}" if several else str(node)
        for series, node in zip(found["series"], found["node"], strict=True)
    ]
    axis.set_yticks(place, [textwrap.fill(parts.said(name), _NAME_CHARACTERS) for name in names])
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.grid(visible=True, axis="x")
    parts.titles(axis, "Each node's share", "% of the images", "")
    handles = [
        Patch(facecolor=style.part_colour(part), edgecolor=style.PAPER, hatch=hatch, label=label)
        for part, hatch, label in ((_COUNTED, "", "counted"), (_LOST, "////", "done again"))
    ]
    parts.place_legend(figure, handles)
    return figure


def _counts(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        return {}
    return {str(node): float(count) for node, count in value.items() if isinstance(count, int | float)}
