"""How long each wait of a trial may last."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Seconds; None where there is no limit."""

    start: float = 180.0
    """Launch to a worker's `ready`."""
    stall: float | None = 120.0
    """Silence of a worker that was ready."""
    time: float | None = None
    """The whole trial."""
    lease: float = 45.0
    """Ranks outlive a harness that vanished by this much at most."""
    outage: float = 30.0
    """A node that cannot be reached for longer is lost."""
    silence: float = 10.0
    """A connection over which nothing came for this long is taken for cut: the agent sends a beat every second."""
    exit_grace: float = 10.0
    """For scheduler and servers to end once all workers have."""
