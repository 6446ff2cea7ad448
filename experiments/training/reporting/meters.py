"""What the program tells of itself: its age, an epoch's cost (processor, wire, sleeps), its mean loss and accuracy."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from contract import wire

from .. import trial

Vector = npt.NDArray[np.float64]

_COUNTERS = Path("/proc/net/dev")
_COLUMNS = {"bytes_sent": 8, "bytes_received": 0, "packets_sent": 9, "packets_received": 1}


@dataclass(frozen=True)
class Reading:
    """Counters at one moment; subtract two for what lay between."""

    cpu_seconds: float
    """Of this process, all threads."""
    bytes_sent: int
    bytes_received: int
    """Of the whole node's wire, everything on it counted, so a server beside the worker too."""
    packets_sent: int
    packets_received: int
    """As the kernel hands them over: where it leaves the cutting to the card, or joins what arrives, one is several frames."""
    context_switches: int
    """Voluntary ones of this process, all threads: how often one of them went to sleep."""

    def __sub__(self, earlier: Reading) -> Reading:
        before = earlier.as_values()
        return Reading(**{name: value - before[name] for name, value in self.as_values().items()})

    def as_values(self) -> dict[str, Any]:
        """By name, as events have them."""
        return asdict(self)


def read() -> Reading:
    """Read the counters now.

    The wire is every interface but loopback; where the node's own address is a loopback address (several nodes on one
    machine) it is loopback, which carries all nodes' traffic: each worker then counts an equal part of it as its own.
    """
    loopback = os.environ.get(wire.NODE_ADDRESS, "").startswith("127.")
    among = trial.world_size() if loopback else 1
    counts = wire_counts(_COUNTERS.read_text(), loopback)
    return Reading(
        cpu_seconds=time.process_time(),
        **{name: count // among for name, count in counts.items()},
        context_switches=resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw,
    )


def wire_counts(text: str, loopback: bool) -> dict[str, int]:
    """Bytes and packets in the text of /proc/net/dev, as in `Reading`: of `lo` alone, or of all interfaces but `lo`."""
    counts = dict.fromkeys(_COLUMNS, 0)
    for line in text.splitlines()[2:]:
        interface, _, counters = line.partition(":")
        if (interface.strip() == "lo") == loopback:
            fields = counters.split()
            for name, column in _COLUMNS.items():
                counts[name] += int(fields[column])
    return counts


def process_age() -> float:
    """Seconds since this process began: the interpreter's start and the imports up to here; 0 where /proc does not say."""
    try:
        began = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
        now = Path("/proc/uptime").read_text(encoding="ascii").split()[0]
    except OSError:
        return 0.0
    return float(now) - int(began) / os.sysconf("SC_CLK_TCK")


def means(kind: str, sums: Vector) -> dict[str, float | None]:
    """Mean loss and accuracy; null where there were no images.

    Args:
        kind: `train` or `validation`.
        sums: (three,) float64: loss, count of right answers, count of images.
    """
    loss, correct, images = (float(value) for value in sums)
    return {f"{kind}_loss": loss / images if images else None, f"{kind}_accuracy": correct / images if images else None}
