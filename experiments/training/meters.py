"""What an epoch costs this node: processor seconds and bytes on the wire."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

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
