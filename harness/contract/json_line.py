"""JSON that nodes, programs and other hands have written: read so that nothing in it breaks what computes with it. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def parse_json_line(line: str | bytes) -> Json:
    """The object that a line is, as `parse_json` reads it. Raises ValueError where it is none."""
    value = parse_json(line)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def parse_json(text: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError where it is none.

    A whole number that no float can hold is infinity: one that nothing can be computed with is no finite number.
    """
    try:
        return json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _integer(digits: str) -> int | float:
    number = float(digits)
    return int(digits) if math.isfinite(number) else number
