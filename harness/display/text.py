"""Numbers as people read them: three figures that matter, a unit, and a dash for what is not known."""

from __future__ import annotations

import math
from collections.abc import Callable

CONTROL = "control: independent training"
UNKNOWN = "–"  # noqa: RUF001 - a dash is meant
NEVER = "never"
"""A time or count that is infinite: what it measures was not reached."""


def seconds(value: float) -> str:
    """A duration: `38 ms`, `4.21 s`, `71 s`, `12 min 05 s`, `2 h 03 min`."""
    if math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return NEVER
    if value < 1:
        return f"{_three(value * 1000)} ms"
    if round(value) < 120:
        return f"{_three(value)} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def percent(value: float, digits: int = 0) -> str:
    """A fraction of 1 as a percentage."""
    return UNKNOWN if math.isnan(value) else f"{value * 100:.{digits}f}%"


def accuracy(value: float) -> str:
    """An accuracy, to a hundredth of a point."""
    return percent(value, 2)


def size(value: float) -> str:
    """Bytes in decimal units, as network links count them."""
    if math.isnan(value):
        return UNKNOWN
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{_three(value)} {unit}"
        value /= 1000
    return f"{_three(value)} GB"


def number(value: float) -> str:
    """A number to three figures, thousands grouped."""
    return UNKNOWN if math.isnan(value) else NEVER if math.isinf(value) else _three(value)


def count(value: float) -> str:
    """A count, without a fraction where it has none."""
    return UNKNOWN if math.isnan(value) else NEVER if math.isinf(value) else f"{value:,.4g}"


def ratio(value: float) -> str:
    """A ratio with two digits after the point."""
    return UNKNOWN if math.isnan(value) else f"{value:.2f}"


def between(low: float, high: float, show: Callable[[float], str], word: str = "to") -> str:
    """The ends of an interval, `1.93 to 2.11`; empty where both read alike.

    Of a ratio one end is open where something never was: 0 or inf. It is then `at most 5.97` or `at least 3.14`.
    """
    if show is ratio and (low == 0 or math.isinf(high)):
        if low == 0:
            return "no bound" if math.isinf(high) else f"at most {ratio(high)}"
        return f"at least {ratio(low)}"
    ends = show(low), show(high)
    return "" if ends[0] == ends[1] else f"{ends[0]} {word} {ends[1]}"


def nodes(count: float) -> str:
    """`1 node`, `4 nodes`."""
    return f"{count:.0f} node{'' if round(count) == 1 else 's'}"


def _three(value: float) -> str:
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 3)}f}"
