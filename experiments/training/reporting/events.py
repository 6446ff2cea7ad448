"""Events: one JSON object a line on stdout, by which a rank speaks to the harness."""

from __future__ import annotations

import json
import math
import sys


def emit(kind: str, **values: object) -> None:
    """Print one event and flush. Floats that are not finite (a diverged loss) become null: JSON has no such."""
    event = {"event": kind, **{key: _finite(value) for key, value in values.items()}}
    sys.stdout.write(json.dumps(event, allow_nan=False) + "\n")
    sys.stdout.flush()


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
