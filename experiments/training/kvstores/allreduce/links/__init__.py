"""Connections between the workers of a trial."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy

from ....reporting.phases import Phases
from ....trial import Seat
from .link import Link
from .rendezvous import Rendezvous

__all__ = ["Link", "Links", "Seat"]

JOIN_SECONDS = 180.0
"""How long a worker waits for the others to start."""


class Links:
    """Connections to all other workers, `channels` to each; `links.to(channel, rank)`.

    Where there are several, what goes over channel 0 overtakes what still waits in this node for its network card.
    """

    def __init__(
        self,
        seat: Seat,
        channels: int,
        join_seconds: float = JOIN_SECONDS,
        phases: Phases | None = None,
        apart: int | None = None,
    ) -> None:
        """Find the others. Raises ProgramError where some are missing after `join_seconds`.

        `phases` is this worker's stopwatch, which is told of all waiting; but not of that on the channel `apart`, which an
        engine's threads may use while this one uses the others.
        """
        self.rank = seat.rank
        self.workers = seat.workers
        self.phases = phases or Phases(in_turns=True)
        self._links: dict[tuple[int, int], Link] = {}
        if seat.workers > 1:
            Rendezvous(seat, channels, time.monotonic() + join_seconds).meet(self._links, self.phases, apart)
        for (channel, _), link in self._links.items():
            if channel == 0 and channels > 1:
                link.go_first()

    def to(self, channel: int, rank: int) -> Link:
        """The connection to a worker."""
        return self._links[channel, rank]

    def among(self, ranks: Sequence[int]) -> Links:
        """The same connections, as far as they are among these workers, of which this is one; numbered in this order."""
        found = copy(self)
        found.rank, found.workers = ranks.index(self.rank), len(ranks)
        found._links = {
            (channel, ranks.index(rank)): link for (channel, rank), link in self._links.items() if rank in ranks
        }
        return found

    def close(self) -> None:
        """Close all connections."""
        for link in self._links.values():
            link.close()
