"""One line of the table: what was measured, and whether it holds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Literal

import numpy as np

from harness.analysis.statistics.intervals import estimate


@dataclass(frozen=True)
class Bar:
    """What a figure has to reach."""

    relation: Literal["at least", "at most"]
    value: float

    def held_by(self, figure: float) -> bool:
        """Whether a figure reaches it."""
        return figure >= self.value if self.relation == "at least" else figure <= self.value


def at_least(value: float) -> Bar:
    """A figure that is better the larger it is."""
    return Bar("at least", value)


def at_most(value: float) -> Bar:
    """A figure that is better the smaller it is."""
    return Bar("at most", value)


@dataclass(frozen=True)
class Row:
    """A figure, one value a repeat. Without values it was not measured, and `note` says why or how to."""

    what: str
    unit: str
    values: Sequence[float] = ()
    bar: Bar | None = None
    note: str = ""

    @property
    def median(self) -> float | None:
        """The figure; None where it was not measured."""
        return median(self.values) if self.values else None

    @property
    def held(self) -> bool | None:
        """Whether the median reaches the bar; None without a bar or a figure."""
        figure = self.median
        return None if figure is None or self.bar is None else self.bar.held_by(figure)

    def measured(self) -> str:
        """The median, and the range where there were several values."""
        figure = self.median
        if figure is None:
            return "not measured"
        text = f"{_shown(figure)} {self.unit}".strip()
        low, high = min(self.values), max(self.values)
        return text if len(self.values) == 1 else f"{text} ({_shown(low)}-{_shown(high)})"

    def as_json(self) -> Mapping[str, object]:
        """All there is to the row, the derived included."""
        return {**asdict(self), "values": list(self.values), "median": self.median, "held": self.held}


def ratio_row(
    what: str, above: Mapping[int, float], below: Mapping[int, float], bar: Bar | None = None, note: str = ""
) -> Row:
    """A ratio, formed within each repeat that has both figures; both are by repeat."""
    both = sorted(above.keys() & below.keys())
    return Row(what, "", tuple(above[repeat] / below[repeat] for repeat in both), bar, note)


def half_width_row(row: Row, bar: Bar) -> Row:
    """Half of the 95% interval of a row's median, as per cent of the median."""
    found = estimate(np.array(row.values, dtype=float))
    what = f"{row.what}: half of its 95% interval"
    if not found.has_interval:
        return Row(what, "%", note="one repeat has no interval: take more by --repeats")
    return Row(what, "%", (100 * (found.high - found.low) / 2 / found.value,), bar, f"{found.count} repeats")


def _shown(figure: float) -> str:
    if abs(figure) >= 100 or isinstance(figure, int):
        return f"{figure:.0f}"
    return f"{figure:.1f}" if abs(figure) >= 10 else f"{figure:.2f}"
