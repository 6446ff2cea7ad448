"""The event schema: how a rank's output lines become records. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.json_line import parse_json_line

Kind = Literal["ready", "progress", "epoch", "checkpoint", "done", "error"]

# Keys that must be there, and finite, for an event to count; the others may be absent or null.
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "ready": ("rank",),
    "progress": ("rank", "epoch", "step", "steps"),
    "epoch": ("rank", "epoch", "train_seconds"),
    "checkpoint": ("rank", "epoch", "bytes"),
    "done": ("rank",),
    "error": (),
}

PHASES = ("data", "forward", "backward", "push", "wait", "pull", "update")
"""What a worker does while it trains, in the order of a step; the programs' own list is in experiments/training/phases.py."""

PHASE_KEYS = tuple(f"{phase}_seconds" for phase in PHASES)

TRAFFIC_KEYS = ("bytes_sent", "bytes_received", "packets_sent", "packets_received", "context_switches")

EPOCH_KEYS = (
    "epoch", "steps", "images", "train_seconds", "validation_seconds", *PHASE_KEYS, "cpu_seconds", "learning_rate",
    "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", *TRAFFIC_KEYS,
)  # fmt: skip


@dataclass(frozen=True)
class Event:
    """One event as printed; `values` holds every key but `event`."""

    kind: str
    values: Mapping[str, Any]

    def number(self, key: str) -> float | None:
        """A finite number, or None where the key is absent, null or no number."""
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return None
        return value


def parse_line(line: str) -> Event | None:
    """The event that a line of output is, or None for a line of log.

    A torn line, other JSON, or an event that lacks what its kind requires is log: kept, and unable to break a trial.
    """
    if not line.startswith("{") or '"event"' not in line:
        return None
    try:
        values = parse_json_line(line)
    except ValueError:
        return None
    if not isinstance(values.get("event"), str):
        return None
    event = Event(values.pop("event"), values)
    required = _REQUIRED.get(event.kind, ())
    if any(event.number(key) is None for key in required):
        return None
    return event


class LineSplitter:
    """Cuts a byte stream into lines; an unfinished last line waits for its rest."""

    # A line longer than this is cut: no event is, and a rank that never ends its line must not fill the memory here.
    LIMIT = 1 << 20

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Complete lines, decoded, without their end."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self.LIMIT:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", errors="replace").rstrip("\r") for line in lines]

    def flush(self) -> list[str]:
        """The last line, if it has no end."""
        rest, self._rest = self._rest, b""
        return [rest.decode("utf-8", errors="replace")] if rest else []
