"""The allreduce store with branches on different workers: a branch's gradients are added up over the groups."""

from __future__ import annotations

from ..kvstores.allreduce.links import Links
from ..kvstores.registration import Opening
from ..models import Architecture
from ..sharding import Shares
from ..split.parts import Plan
from ..split.store import SplitKVStore
from .division import Division, divided


class TowersKVStore(SplitKVStore):
    """Workers exchange within their group, and add up a branch's gradients with those that have the same branches."""

    name = "allreduce"
    most_parts = 4
    """What all workers have, and the own branches."""

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        self._towers = int(opening.options.own["towers"])
        self._division: Division | None = None

    def _cut(self, architecture: Architecture, shares: Shares) -> Plan | None:
        """By branches."""
        self._division = divided(architecture, self._towers, self.workers)
        if self._division is None:
            return None
        self._groups = self._division.groups
        self._peers = self._links.among(self._groups.peers(self.rank))
        return self._division.cut(shares)

    def _exchanging(self, shares: Shares) -> tuple[Links, Shares]:
        """The own group."""
        return self._links.among(self._groups.members(self.rank)), self._groups.within(shares)

    def _adding(self, buffer: int) -> Links:
        """All workers, or those with the same branches."""
        return self._links if self._plan is None or buffer < self._plan.common else self._peers

    def walked(self, shares: Shares) -> Shares:
        """The group's batches, where branches begin with the images."""
        return self._division.walked(shares) if self._division else shares
