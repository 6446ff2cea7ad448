"""Has all items of a piece of work done by the workers that there are: batch by batch, whatever becomes of single workers."""

from __future__ import annotations

import queue
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
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
    def submit(self, worker: Hashable, batch: Batch, done: Callable[[Callable[[], Part]], None]) -> None:
        """Have a worker do a batch. `done` is called, in any thread, with a function that gives the result or raises.

        WorkerLostError says that the worker is gone, BatchLostError that this result is; what else it raises is the task's own.
        """

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


def spread(
    crew: Crew, total: int, take: Callable[[Batch, Any], None], progress: Callable[[int], None] = lambda done: None
) -> Summary:
    """Have items 0 to `total` - 1 done; `take` gets each batch's result once, in the order in which they come.

    Raises what a task raises, and NoWorkersError where nobody is there for a minute.
    """
    shares, summary = Shares(total), Summary()
    inbox: queue.SimpleQueue[tuple[Hashable, Batch, Callable[[], Part]]] = queue.SimpleQueue()
    began = seen = time.perf_counter()
    looked = -_LOOK_SECONDS
    while shares.finished < total:
        now = time.perf_counter()
        if now - looked >= _LOOK_SECONDS:
            looked = now
            _look(crew, shares, summary)
            seen = now if shares.workers else seen
            if now - seen > _EMPTY_SECONDS:
                raise NoWorkersError(f"no worker for {_EMPTY_SECONDS:.0f} s")
        summary.batches += _hand_out(crew, shares, inbox, now)
        try:
            worker, batch, result = inbox.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            continue
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
            summary.items[worker] = summary.items.get(worker, 0) + batch.count
            summary.bytes[worker] = summary.bytes.get(worker, 0) + part.bytes
            take(batch, part.value)
            progress(shares.finished)
        items, seconds = summary.work.get(worker, (0, 0.0))
        summary.work[worker] = (items + batch.count, seconds + part.seconds * batch.count)
    summary.seconds = time.perf_counter() - began
    return summary


def _look(crew: Crew, shares: Shares, summary: Summary) -> None:
    there = crew.workers()
    for worker in [worker for worker in shares.workers if worker not in there]:
        _lose(crew, shares, summary, worker)
    for worker, cores in there.items():
        if worker not in summary.lost:
            shares.join(worker, cores)
            summary.cores[worker] = cores


def _lose(crew: Crew, shares: Shares, summary: Summary, worker: Hashable) -> None:
    if worker in shares.workers:
        summary.lost[worker] = shares.leave(worker)
        crew.drop(worker)


def _hand_out(
    crew: Crew, shares: Shares, inbox: queue.SimpleQueue[tuple[Hashable, Batch, Callable[[], Part]]], now: float
) -> int:
    """Give every worker what it should have; how many batches that were."""
    count = 0
    for worker in shares.workers:
        while batch := shares.next(worker, now):
            count += 1

            def done(result: Callable[[], Part], worker: Hashable = worker, batch: Batch = batch) -> None:
                inbox.put((worker, batch, result))

            crew.submit(worker, batch, done)
    return count
