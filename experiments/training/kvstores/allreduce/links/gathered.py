"""Short rows of numbers, of which every worker gets everybody's: what normalisations by all workers' images need."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ....errors import ProgramError
from ..exchange import as_bytes
from ..shards import peers
from . import Links

Doubles = npt.NDArray[np.float64]


class Gathered:
    """Over one channel, which nothing else uses and whose links are kept apart; see `engines.normalisation.Gather`."""

    def __init__(self, links: Links, channel: int, images: Sequence[int]) -> None:
        self.images = images
        self._rank = links.rank
        self._workers = links.workers
        self._links = {rank: links.to(channel, rank) for rank in peers(links.rank, links.workers)}
        self.fault: ProgramError | None = None
        """What ended an exchange: an engine whose thread it was tells the main one something else."""

    def rows(self, own: Doubles) -> Doubles:
        """Send the own row to everybody, and wait for theirs; all workers ask in the same order.

        Args:
            own: (count,) float64, in any units.

        Returns:
            (workers, count) float64, in the same units, by rank.
        """
        try:
            return self._exchanged(own)
        except ProgramError as error:
            self.fault = error
            raise

    def _exchanged(self, own: Doubles) -> Doubles:
        found = np.empty((self._workers, own.size))
        found[self._rank] = own
        for link in self._links.values():
            link.send(as_bytes(own))
        for rank, link in self._links.items():
            link.receive(as_bytes(found[rank]))
        for link in self._links.values():
            link.flush()
        return found
