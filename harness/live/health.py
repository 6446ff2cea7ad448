"""The nodes' health, as samples of telemetry.csv come. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.live.epochs import number
from harness.results.rows import Row, moment_of

_SAMPLES = 60
"""Of a node: what is drawn of its past."""
_NOW_BITS = ("under-voltage", "frequency capped", "throttled", "temperature limit")
"""The low four bits of what vcgencmd prints; the same four, sixteen bits higher, are of the time since boot."""
_SINCE_BOOT = 16


@dataclass(frozen=True)
class Sample:
    """One sample of a node; None is what the node did not say."""

    trial: str
    moment: float
    """s of the controller's clock, since 1970."""
    cpu_percent: float | None
    memory_bytes: float | None
    celsius: float | None
    throttled: str
    sent: float | None
    """Bytes since the counters began."""
    received: float | None


@dataclass
class Node:
    """One node's last samples."""

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=_SAMPLES))

    def rates(self) -> tuple[float | None, float | None]:
        """Bytes a second sent and received between the last two samples; None where the counters began anew in between."""
        if len(self.samples) < 2:
            return None, None
        before, last = self.samples[-2], self.samples[-1]
        seconds = last.moment - before.moment
        if before.trial != last.trial or seconds <= 0:
            return None, None
        pairs = ((before.sent, last.sent), (before.received, last.received))
        if any(old is None or new is None or new < old for old, new in pairs):
            return None, None
        sent, received = ((new or 0.0) - (old or 0.0) for old, new in pairs)
        return sent / seconds, received / seconds


class Health:
    """All nodes, in the order in which they were named or first sampled."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def add(self, row: Row) -> None:
        """One row; one without a node or a moment is left out."""
        moment = moment_of(str(row.get("time")))
        if not row.get("node") or moment is None:
            return
        memory, temperature = number(row.get("memory_used_bytes")), number(row.get("temperature_celsius"))
        sample = Sample(
            str(row.get("trial")), moment, number(row.get("cpu_percent")), memory, temperature,
            str(row.get("throttled") or ""), number(row.get("bytes_sent")), number(row.get("bytes_received")),
        )  # fmt: skip
        self._nodes.setdefault(str(row["node"]), Node()).samples.append(sample)

    def clear(self) -> None:
        """Forget all samples."""
        self._nodes.clear()

    def nodes(self, named: list[str]) -> Iterator[tuple[str, Node]]:
        """The nodes with these names first, then others that were sampled."""
        for name in dict.fromkeys([*named, *self._nodes]):
            yield name, self._nodes.get(name, Node())


def throttling(word: str) -> tuple[str, bool]:
    """What a node's throttling word means, and whether anything holds the node back now; empty where there is none."""
    try:
        bits = int(word.rpartition("=")[2].strip(), 16)
    except ValueError:
        return "", False
    now = [name for place, name in enumerate(_NOW_BITS) if bits >> place & 1]
    if now:
        return ", ".join(now), True
    before = [name for place, name in enumerate(_NOW_BITS) if bits >> place + _SINCE_BOOT & 1]
    return (f"no longer: {', '.join(before)}" if before else "no"), False
