"""Events of a run's trials that are in no CSV file. What is damaged is left out."""

from __future__ import annotations

import json
from typing import Any

from harness.results.run_paths import RunPaths


class Events:
    """Read when asked for, a trial at a time."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths

    def of(self, trial: str, kind: str) -> list[dict[str, Any]]:
        """A trial's events of a kind, in the order in which they came."""
        try:
            text = self._paths.trial_events(trial).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        found = []
        for line in text.splitlines():
            if f'"{kind}"' not in line:
                continue
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("event") == kind:
                found.append(event)
        return found


def number(event: dict[str, Any], key: str) -> float:
    """A number of an event; NaN where it is none."""
    value = event.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
