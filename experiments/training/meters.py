"""What the program tells of itself: its age, an epoch's cost in processor seconds and bytes, its mean loss and accuracy."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from .stores.base import Vector

_COUNTERS = Path("/proc/net/dev")


@dataclass(frozen=True)
class Reading:
    """Counters at one moment; subtract two for what lay between."""

    cpu_seconds: float
    """Of this process, all threads."""
    bytes_sent: int
    bytes_received: int
    """Of the whole node's wire, everything on it counted, so a server beside the worker too."""

    def __sub__(self, earlier: Reading) -> Reading:
        return Reading(
            self.cpu_seconds - earlier.cpu_seconds,
            self.bytes_sent - earlier.bytes_sent,
            self.bytes_received - earlier.bytes_received,
        )


def read() -> Reading:
    """Read the counters now.

    The wire is every interface but loopback; where the node's own address is a loopback address (several nodes on one
    machine) it is loopback, which then carries all nodes' traffic: an upper bound, not this worker's share.
    """
    loopback = os.environ.get("DMLC_NODE_HOST", "").startswith("127.")
    received, sent = wire_bytes(_COUNTERS.read_text(), loopback)
    return Reading(time.process_time(), sent, received)


def wire_bytes(text: str, loopback: bool) -> tuple[int, int]:
    """Bytes received and sent in the text of /proc/net/dev: of `lo` alone, or of all interfaces but `lo`."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        interface, _, counters = line.partition(":")
        if (interface.strip() == "lo") == loopback:
            fields = counters.split()
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent


def process_age() -> float:
    """Seconds since this process began: the interpreter's start and the imports up to here; 0 where /proc does not say."""
    try:
        began = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
        now = Path("/proc/uptime").read_text(encoding="ascii").split()[0]
    except OSError:
        return 0.0
    return float(now) - int(began) / os.sysconf("SC_CLK_TCK")


def means(kind: str, sums: Vector) -> dict[str, float | None]:
    """Mean loss and accuracy from sums of loss, right answers and images; null where there were no images."""
    loss, correct, images = (float(value) for value in sums)
    return {f"{kind}_loss": loss / images if images else None, f"{kind}_accuracy": correct / images if images else None}
