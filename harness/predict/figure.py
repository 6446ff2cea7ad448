"""The figure of a prediction: measured points, the model through them, and what was not measured drawn apart."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.display import style
from harness.predict.forecast import Forecast, Scenario

_WIDTH_INCHES, _ROW_INCHES = 6.6, 2.9
_DPI = 200
_COLUMNS = 2
_LONGEST_TITLE = 34
_DASHED, _THRESHOLD = (0.0, (3.0, 2.0)), (0.0, (4.0, 3.0))


def draw(forecasts: Sequence[Forecast], threshold: float) -> tuple[bytes, bytes]:
    """Images a second against nodes, a panel a series, as SVG and as PNG."""
    names = tuple(dict.fromkeys(scenario.name for one in forecasts for scenario in one.scenarios))
    with mpl.rc_context(style.RC):
        columns = min(_COLUMNS, len(forecasts))
        rows = math.ceil(len(forecasts) / columns)
        figure = Figure(figsize=(_WIDTH_INCHES, _ROW_INCHES * rows + 0.9), layout="constrained")
        for place, one in enumerate(forecasts, start=1):
            _panel(figure.add_subplot(rows, columns, place), one, names)
        figure.legend(handles=_legend(names, threshold), loc="outside lower center", ncols=2)
        svg, png = io.BytesIO(), io.BytesIO()
        # Without a date and a version the same numbers give the same bytes.
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        figure.set_layout_engine("none")
        figure.savefig(png, format="png", dpi=_DPI, metadata={"Software": None})
    return svg.getvalue(), png.getvalue()


def _panel(axis: Axes, one: Forecast, names: Sequence[str]) -> None:
    for scenario in one.scenarios:
        _curve(axis, one, scenario, names.index(scenario.name))
    batch = round(one.scenarios[0].conditions.batch)
    points = [point for point in one.measured.points if round(point.batch) == batch]
    rates = [point.nodes * point.batch / point.step_seconds for point in points]
    axis.plot([point.nodes for point in points], rates, "o", color=style.INK, markersize=4, zorder=4)
    end = one.scenarios[0].worthwhile.value
    if 2 <= end < one.scenarios[0].rows[-1].nodes:
        axis.axvline(end, color=style.MUTED, linewidth=1.0, linestyle=_THRESHOLD, zorder=1.5)
    title = one.measured.label
    axis.set_title(title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 1]}…", loc="left")
    axis.set_xlabel("nodes")
    axis.set_ylabel("images per second")
    most = max([*rates, *(row.images_per_second.value for each in one.scenarios for row in each.rows)])
    # A range may be wider than all there is to see.
    axis.set_ylim(0, 1.1 * most)


def _curve(axis: Axes, one: Forecast, scenario: Scenario, place: int) -> None:
    """A scenario: a whole line within the measured sizes as measured, broken where nothing was measured. Its range is
    a band; that of a what-if a bar at its end, for bands would cover each other.
    """
    mark = style.mark(place)
    nodes = np.array([row.nodes for row in scenario.rows], dtype=float)
    rates = np.array([row.images_per_second.value for row in scenario.rows])
    low = [row.images_per_second.low for row in scenario.rows]
    high = [row.images_per_second.high for row in scenario.rows]
    if place == 0:
        axis.fill_between(nodes, low, high, color=mark.colour, alpha=0.14, linewidth=0)
    else:
        axis.plot(
            [nodes[-1]] * 2, [low[-1], high[-1]], color=mark.colour, linewidth=3, alpha=0.35, solid_capstyle="butt"
        )
    axis.plot(nodes, rates, color=mark.colour, linestyle=_DASHED, linewidth=1.3)
    if place == 0:
        inside = (nodes >= min(one.measured.sizes)) & (nodes <= max(one.measured.sizes))
        axis.plot(nodes[inside], rates[inside], color=mark.colour, linewidth=1.8)


def _legend(names: Sequence[str], threshold: float) -> list[Line2D | Patch]:
    handles: list[Line2D | Patch] = [
        Line2D([], [], linestyle="none", marker="o", markersize=4, color=style.INK, label="measured"),
    ]
    for place, name in enumerate(names):
        label = "model; dashed beyond what was measured" if place == 0 else f"predicted: {name}"
        handle = Line2D([], [], color=style.mark(place).colour, label=label)
        handle.set_linestyle("-" if place == 0 else _DASHED)
        handles.append(handle)
    handles.append(
        Patch(color=style.MUTED, alpha=0.2, linewidth=0, label="range (80% of fits); of what-ifs a bar at the end")
    )
    label = f"last node that adds {threshold:g} of one's speed"
    handles.append(Line2D([], [], color=style.MUTED, linewidth=1.0, linestyle=_THRESHOLD, label=label))
    return handles
