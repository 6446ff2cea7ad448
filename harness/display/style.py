"""How figures look: a colour-blind safe palette (Okabe and Ito's), and what each colour becomes in the dark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

INK = "#22262b"
MUTED = "#6b7280"
GRID = "#e3e6ea"
PAPER = "#ffffff"

# (in the light, in the dark): the dark ones are the same hues, light enough to read on a dark page.
_SERIES = (
    ("#0072b2", "#56a9e0"),
    ("#d55e00", "#ff8b3d"),
    ("#009e73", "#2fcb9f"),
    ("#cc79a7", "#e6a3c8"),
    ("#e69f00", "#ffc34d"),
    ("#56b4e9", "#9ad6f7"),
)
_CONTROL = ("#7a7f87", "#a5abb4")
_PARTS = {
    "compute": ("#0072b1", "#56a9e1"),
    "wait": ("#d55e01", "#ff8b3e"),
    "validation": ("#b9bec5", "#6b727c"),
    "data": ("#e69f01", "#ffc34e"),
    "forward": ("#56b4e8", "#9ad6f8"),
    "backward": ("#0072b0", "#56a9e2"),
    "push": ("#009e72", "#2fcba0"),
    "pull": ("#8ccfb5", "#a5ecd3"),
    "update": ("#cc79a6", "#e6a3c9"),
    "other": ("#b9bec4", "#6b727d"),
}
LineStyle = Literal["-", "--", "-.", ":", ""]
_MARKERS = "os^DvPX"
_LINES: tuple[LineStyle, ...] = ("-", "--", "-.", ":")

# Sizes are coloured from light to dark as they grow, in the dark the other way round: large clusters stand out in both.
_SEQUENCE = "viridis"
_SEQUENCE_LIGHT = (0.88, 0.0)
_SEQUENCE_DARK = (0.25, 1.0)

RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 9.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": INK,
    "figure.constrained_layout.h_pad": 0.07,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.5,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": PAPER,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "harness",
}


@dataclass(frozen=True)
class Mark:
    """How one series is drawn; told apart by marker and line as well as by colour."""

    colour: str
    marker: str
    line: LineStyle


def mark(position: int, control: bool = False) -> Mark:
    """The mark of the series in a position; a control is grey in any."""
    if control:
        return Mark(_CONTROL[0], "d", ":")
    colour, _ = _SERIES[position % len(_SERIES)]
    return Mark(colour, _MARKERS[position % len(_MARKERS)], _LINES[position // len(_SERIES) % len(_LINES)])


def part_colour(part: str) -> str:
    """The colour of a part of an epoch (`compute`, `wait`, `validation`) or of a step (`steps.PARTS`)."""
    return _PARTS[part][0]


def size_colours(count: int) -> list[str]:
    """One colour for each of so many cluster sizes, ascending."""
    return _sampled(count, _SEQUENCE_LIGHT)


def dark_colours(sizes: int) -> dict[str, str]:
    """Each colour that a figure may use, and what it is on a dark page, for a run of so many cluster sizes."""
    fixed = dict([*_SERIES, _CONTROL, *_PARTS.values()])
    neutral = {INK: "#e4e7eb", MUTED: "#98a0aa", GRID: "#30363d", PAPER: "#16191d"}
    sequence = dict(zip(size_colours(sizes), _sampled(sizes, _SEQUENCE_DARK), strict=True))
    return {**sequence, **fixed, **neutral}


def _sampled(count: int, ends: tuple[float, float]) -> list[str]:
    if not count:
        return []
    # The page of a running sweep has no such colours, and should not load what takes half a second.
    from matplotlib import colormaps  # noqa: PLC0415
    from matplotlib.colors import to_hex  # noqa: PLC0415

    first, last = ends
    steps = max(count - 1, 1)
    # One size alone is drawn as the largest would be.
    return [to_hex(colormaps[_SEQUENCE](last + (first - last) * (count - 1 - i) / steps)) for i in range(count)]
