"""Has all items of a piece of work done by the workers that there are: batch by batch, whatever becomes of single workers."""

from __future__ import annotations

import queue
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .shares import Batch, Shares, earliest_end

_LOOK_SECONDS = 1.0
"""How often it is looked who is there."""
_EMPTY_SECONDS = 60.0
"""So long nobody may be there."""


@dataclass(frozen=True)
class Part:
    """The result of one batch."""

    value: Any
    seconds: float
    """What an item took on its core."""
    bytes: int = 0

    def __sizeof__(self) -> int:
        """Dask asks this; without it any object of ours has a few bytes."""
        return super().__sizeof__() + self.bytes


Results = Sequence[tuple[Batch, Callable[[], Part]]]
"""Batches that came to an end together, each with a function that gives the result or raises."""
Done = Callable[[Results], None]


class WorkerLostError(Exception):
    """A worker went away with a batch."""


class BatchLostError(Exception):
    """The result of a batch did not arrive; its worker may still be there."""


class NoWorkersError(Exception):
    """Nobody is there to do the work."""


class Crew(ABC):
    """Those who do the work."""

    @abstractmethod
    def workers(self) -> Mapping[Hashable, int]:
        """Who is there now, each with its cores."""

    @abstractmethod
    def submit(self, worker: Hashable, batches: Sequence[Batch], done: Done) -> None:
        """Have a worker do batches, each on a core of its own. `done` is called in any thread, once for all or several times.

        It gets each batch with a function that gives the result or raises. WorkerLostError says that the worker is gone,
        BatchLostError that this result is; what else it raises is the task's own.
        """

    def item_seconds(self, worker: Hashable) -> float | None:
        """What an item takes on one of its cores, where that is known before it has done any."""
        return None

    def drop(self, worker: Hashable) -> None:  # noqa: B027 - only some have something to do
        """A worker is gone: forget what it was to do."""


@dataclass
class Summary:
    """What came of it."""

    items: dict[Hashable, int] = field(default_factory=dict)
    """By worker, how many items of the result are its."""
    bytes: dict[Hashable, int] = field(default_factory=dict)
    """By worker, how many bytes of results it sent."""
    lost: dict[Hashable, int] = field(default_factory=dict)
    """By worker that went away, how many items had to be done again."""
    missed: dict[Hashable, int] = field(default_factory=dict)
    """By worker that stayed, how many items had to be done again, since their results did not arrive."""
    batches: int = 0
    seconds: float = 0.0
    cores: dict[Hashable, int] = field(default_factory=dict)
    """By worker."""
    work: dict[Hashable, tuple[int, float]] = field(default_factory=dict)
    """By worker, all items that it did, also those that another was first with, and what they took on its cores."""

    @property
    def redone(self) -> int:
        """Items that had to be done again."""
        return sum(self.lost.values()) + sum(self.missed.values())

    @property
    def rates(self) -> dict[Hashable, float]:
        """By worker, the mean seconds of an item on one of its cores."""
        return {worker: seconds / items for worker, (items, seconds) in self.work.items()}

    def best_seconds(self, total: int) -> float | None:
        """What the best schedule of all items takes by the rates; None where none is known."""
        cores = [(0.0, seconds) for worker, seconds in self.rates.items() for _ in range(self.cores[worker])]
        return earliest_end(total, cores) if cores else None


_Inbox = queue.SimpleQueue[tuple[Hashable, Results]]


def spread(
    crew: Crew, total: int, take: Callable[[Batch, Any], None], progress: Callable[[int], None] = lambda done: None
) -> Summary:
    """Have items 0 to `total` - 1 done; `take` gets each batch's result once, in the order in which they come.

    It is called while workers have something to do, so that what it needs time for is no time of theirs.

    Raises what a task raises, and NoWorkersError where nobody is there for a minute.
    """
    shares, summary = Shares(total), Summary()
    inbox: _Inbox = queue.SimpleQueue()
    untaken: deque[tuple[Batch, Any]] = deque()
    began = seen = time.perf_counter()
    looked, changed = -_LOOK_SECONDS, True
    while shares.finished < total:
        now = time.perf_counter()
        if now - looked >= _LOOK_SECONDS:
            looked, changed = now, True
            _look(crew, shares, summary)
            seen = now if shares.workers else seen
            if now - seen > _EMPTY_SECONDS:
                raise NoWorkersError(f"no worker for {_EMPTY_SECONDS:.0f} s")
        if changed:
            summary.batches += _hand_out(crew, shares, inbox, now)
        arrived = _arrived(inbox, 0.0 if untaken else _LOOK_SECONDS)
        changed = bool(arrived)
        if not arrived and untaken:
            take(*untaken.popleft())
        for worker, batch, result in arrived:
            try:
                part = result()
            except WorkerLostError:
                _lose(crew, shares, summary, worker)
                continue
            except BatchLostError:
                summary.missed[worker] = summary.missed.get(worker, 0) + shares.miss(worker, batch)
                looked = -_LOOK_SECONDS  # who does not answer may be gone
                continue
            if shares.finish(worker, batch, part.seconds, time.perf_counter()):
                untaken.append((batch, part.value))
                progress(shares.finished)
                summary.items[worker] = summary.items.get(worker, 0) + batch.count
                summary.bytes[worker] = summary.bytes.get(worker, 0) + part.bytes
            items, seconds = summary.work.get(worker, (0, 0.0))
            summary.work[worker] = (items + batch.count, seconds + part.seconds * batch.count)
    for batch, value in untaken:
        take(batch, value)
    summary.seconds = time.perf_counter() - began
    return summary


def _arrived(inbox: _Inbox, seconds: float) -> list[tuple[Hashable, Batch, Callable[[], Part]]]:
    """All results that are there; waits so long for the first."""
    found = []
    try:
        found.append(inbox.get(timeout=seconds) if seconds else inbox.get_nowait())
        while True:
            found.append(inbox.get_nowait())
    except queue.Empty:
        return [(worker, batch, result) for worker, results in found for batch, result in results]


def _look(crew: Crew, shares: Shares, summary: Summary) -> None:
    there = crew.workers()
    for worker in [worker for worker in shares.workers if worker not in there]:
        _lose(crew, shares, summary, worker)
    for worker, cores in there.items():
        if worker not in summary.lost:
            shares.join(worker, cores, crew.item_seconds(worker))
            summary.cores[worker] = cores


def _lose(crew: Crew, shares: Shares, summary: Summary, worker: Hashable) -> None:
    if worker in shares.workers:
        summary.lost[worker] = shares.leave(worker)
        crew.drop(worker)


def _hand_out(crew: Crew, shares: Shares, inbox: _Inbox, now: float) -> int:
    """Give every worker what it should have, first what it can begin with at once; how many batches that were."""
    groups = [
        (place, worker, group)
        for worker in shares.workers
        for place, group in enumerate(shares.together(worker, list(iter(partial(shares.next, worker, now), None))))
    ]
    for _, worker, group in sorted(groups, key=lambda found: found[0]):
        crew.submit(worker, group, partial(_put, inbox, worker))
    return sum(len(group) for _, _, group in groups)


def _put(inbox: _Inbox, worker: Hashable, results: Results) -> None:
    inbox.put((worker, results))
