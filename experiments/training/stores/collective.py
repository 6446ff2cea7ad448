"""`allreduce`: the workers add up their gradients among themselves. Plain TCP; needs no servers and nothing but NumPy.

The same mathematics as `dist_sync`: every step uses the average over all workers' batches, and all workers have the same
bits afterwards. The owner of a shard applies the step to it and sends the new values, so each value is updated once in the
whole cluster; only a small buffer travels whole, and everybody applies the step to all of it (`collective_sums`).

The model lies in two buffers (`collective_shards.split`) with a set of connections each. The big one's sums travel while
backward still runs through the convolutions, its new values during the small one's exchange and the next forward. The
small one has nothing to hide behind and must not queue behind the big one's bytes: its connections have priority.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import ProgramError
from ..sharding import Shares
from .base import Parameter, Store, Vector
from .collective_exchange import Exchange
from .collective_links import Links, Seat
from .collective_parts import Averaged, Halved, Part, Step, Summed
from .collective_shards import split

_CHANNELS = 2


class CollectiveStore(Store):
    """All workers are peers; `rank` is the launch order.

    `synchronise_every` above 1 averages the workers' values every so many steps and at the end of an epoch, in between
    everybody trains alone (local SGD). `wire` bfloat16 halves the bytes and rounds the gradients. Neither is the
    mathematics of one worker any more.
    """

    name = "allreduce"
    by_parts = True

    def __init__(self, synchronise_every: int = 1, wire: str = "float32") -> None:
        if synchronise_every > 1 and wire != "float32":
            raise ProgramError(
                f"values cannot be averaged as {wire}: they would lose what single steps change",
                "use --wire float32, or --synchronise-every 1",
            )
        self._kind: type[Part] = Averaged if synchronise_every > 1 else Halved if wire == "bfloat16" else Summed
        self._every = synchronise_every
        self._alone = 0
        """Steps since the workers had the same values."""
        self._links = Links(Seat.from_environment(), _CHANNELS)
        self.rank = self._links.rank
        self.workers = self._links.workers
        self.phases = self._links.phases
        self._parts: list[Part] = []

    def buckets(self, sizes: Sequence[int]) -> list[int]:
        """Two: what precedes the largest array, and the rest."""
        return split(sizes)

    def attach(self, parameters: Sequence[Parameter], shares: Shares) -> None:
        """Make sure that all workers train one model in one way, and take worker 0's values."""
        layout = [(parameter.name, parameter.value.size) for parameter in parameters]
        _agree(self._links, repr((self._kind.__name__, self._every, shares.sizes, layout)))
        self._parts = [
            self._kind(parameter, self._links, channel, shares) for channel, parameter in enumerate(parameters)
        ]

    def announce(self, learning_rate: float) -> None:
        """Begin a step."""
        self._alone += 1
        self._step = Step(learning_rate, averages=self._alone == self._every)

    def before_part(self, number: int) -> None:
        """Wait for the part's new values."""
        self._parts[number].arrive()

    def after_part(self, number: int) -> None:
        """Send the part's gradients to the owners."""
        self._parts[number].depart(self._step)

    def step(self, learning_rate: float) -> None:
        """Update the own shards and send them; first the ones that take the wire longest.

        The next forward needs the small part first, but that one's messages overtake the big one's in the node.
        """
        for part in reversed(self._parts):
            part.depart(self._step)
        for part in reversed(self._parts):
            part.update(self._step)
        self._alone %= self._every

    def settle(self) -> None:
        """Wait for all new values; after steps alone, make them the same everywhere."""
        for number in range(len(self._parts)):
            self.before_part(number)
        for part in self._parts:
            if self._alone and isinstance(part, Averaged):
                part.average_now()
        self._alone = 0

    def reduce(self, values: Vector) -> Vector:
        """Sum in double precision."""
        return np.asarray(Exchange(self._links, 0, len(values), np.float64).sum(values.astype(np.float64)))

    def close(self) -> None:
        """Wait for all values and for all workers, and part."""
        self.settle()
        self.reduce(np.zeros(1))
        self._links.close()


def _agree(links: Links, layout: str) -> None:
    """Raise ProgramError where another worker's model is laid out otherwise: the sums would be of unlike things."""
    digest: npt.NDArray[np.uint8] = np.frombuffer(hashlib.sha256(layout.encode()).digest(), np.uint8)
    seen = Exchange(links, 0, digest.size * links.workers, np.uint8)
    mine = np.zeros(digest.size * links.workers, np.uint8)
    mine[links.rank * digest.size : (links.rank + 1) * digest.size] = digest
    table = seen.sum(mine).reshape(links.workers, digest.size)
    unlike = [rank for rank in range(links.workers) if (table[rank] != digest).any()]
    if unlike:
        raise ProgramError(
            f"workers {', '.join(map(str, unlike))} train another model than worker {links.rank}",
            "give all workers of a trial the same program and options",
        )
