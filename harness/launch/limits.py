"""How long each wait of a trial may last."""

from __future__ import annotations

from dataclasses import dataclass

STALL_SECONDS = 120.0
SILENT_SECONDS = 1800.0


@dataclass(frozen=True)
class Limits:
    """Seconds where nothing else is said; None where there is no limit."""

    start: float = 180.0
    """Launch to a node's word that its ranks were started, and to a rank's `ready`, of programs that print events."""
    stall: float | None = None
    """Silence of a rank that was ready; where not said, two minutes for programs that print events, else `silent`."""
    silent: float | None = None
    """Silence of a rank whose program prints no events, where `stall` is not said."""
    time: float | None = None
    """The whole trial."""
    lease: float = 45.0
    """Ranks outlive a harness that vanished by this much at most."""
    outage: float = 30.0
    """A node that cannot be reached for longer is lost."""
    silence: float = 10.0
    """A connection over which nothing came for this long is taken for cut: the agent sends a beat every second."""
    exit_grace: float = 10.0
    """For ranks that serve to end by themselves once all that finish have."""
    output_bytes: int = 1 << 30
    """What a rank may print; node and controller keep all of it. A rank that prints more is ended."""

    def silence_of_rank(self, prints_events: bool) -> float | None:
        """How long a rank may be silent, None or infinite for as long as it likes."""
        if self.stall is not None:
            return self.stall
        return STALL_SECONDS if prints_events else self.silent
