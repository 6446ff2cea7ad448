"""The event schema: how a rank's output lines become records. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contract import wire
from harness.contract.json_line import parse_json_line

# Keys that must be there, and finite, for an event to count; the others may be absent or null.
_REQUIRED: Mapping[str, tuple[str, ...]] = {
    wire.READY: ("rank",),
    wire.PROGRESS: ("rank", "epoch", "step", "steps"),
    wire.EPOCH: ("rank", "epoch", "train_seconds"),
    wire.CHECKPOINT: ("rank", "epoch", "bytes"),
    wire.DONE: ("rank",),
    wire.TASKS: ("rank", *wire.TASK_KEYS),
    wire.DASHBOARD: ("rank", "port"),
    wire.ERROR: (),
}


LARGEST_NUMBER = 1e15
"""No figure of a trial is as large; sums, means and products of smaller ones stay finite."""


@dataclass(frozen=True)
class Event:
    """One event as printed; `values` holds every key but `event`."""

    kind: str
    values: Mapping[str, Any]

    def number(self, key: str) -> float | None:
        """A finite number of at most LARGEST_NUMBER, or None where the key is absent, null or no such number."""
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if not abs(value) <= LARGEST_NUMBER:  # nor is NaN
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
