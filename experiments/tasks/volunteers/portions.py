"""How many steps a volunteer gets next. Pure: time is an argument.

All steps of a round are to be done at the same moment, so each volunteer gets them by its rate, which its first, short task
measures. Who is not back from that is taken to be as fast as it still can be, so that the first one back does not get
everything.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from ..batches.shares import Batch, Shares, _Worker, earliest_end


@dataclass(frozen=True)
class Sizing:
    """How tasks are sized."""

    equal: int | None = None
    """So many steps each; None: by rate."""
    probe: int = 4
    """Steps of the task that measures a rate."""
    most_seconds: float | None = None
    """By rate, a task is no longer; None: as long as the round."""
    backups: bool = True
    """Whether who has nothing to do repeats what another one is late with."""


class Portions(Shares):
    """Steps 0 to `total` - 1, and which volunteer has which; every one does a single task at a time."""

    def __init__(self, total: int, sizing: Sizing) -> None:
        super().__init__(total)
        self._sizing = sizing

    def come(self, volunteer: Hashable, seconds: float | None) -> None:
        """A volunteer is there that takes so many seconds for a step, as far as that is known."""
        self._workers.setdefault(volunteer, _Worker(1, seconds))

    def seconds(self, volunteer: Hashable) -> float | None:
        """What a step takes a volunteer."""
        own = self._workers.get(volunteer)
        return own.seconds if own else None

    def _cut(self, own: _Worker, now: float) -> Batch | None:
        count = self._sizing.probe
        if self._sizing.equal is not None:
            count = self._sizing.equal
        elif own.seconds:
            count = int((self._finish_time(now) - now) / own.seconds + 1e-6)
            if count < 1:
                return None
            if self._sizing.most_seconds is not None:
                count = min(count, max(1, int(self._sizing.most_seconds / own.seconds)))
        first = self._pending.popleft()
        if first.count > count:
            self._pending.appendleft(Batch(first.first + count, first.count - count))
        return Batch(first.first, min(count, first.count))

    def _second(self, own: _Worker, now: float) -> Batch | None:
        return super()._second(own, now) if self._sizing.backups else None

    def _finish_time(self, now: float) -> float:
        known = [worker.seconds for worker in self._workers.values() if worker.seconds]
        cores = []
        for worker in self._workers.values():
            seconds = worker.seconds
            for each in worker.open if not seconds else ():
                seconds = max((now - (each.began or now)) / each.batch.count, *known)
            if seconds:
                cores.append((worker.free_times(now)[0], seconds))
        return earliest_end(sum(batch.count for batch in self._pending), cores)
