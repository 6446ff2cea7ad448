"""Which worker gets how many items next, so that all are done at the same moment. Pure: time is an argument.

Batches follow the measured rates and shrink towards the end: guided self-scheduling (Polychronopoulos and Kuck 1987), weighted
as in weighted factoring (Hummel, Schmidt, Uma and Wein 1996). A worker that would finish an item later than the others finish
all of them gets none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

LONGEST_SECONDS = 3.0
"""A batch takes no longer than this: so much work of one core is lost with a worker."""
_SMOOTHING = 0.5
"""How much the newest measurement of a rate counts."""
_GAIN = 0.5
"""An unfinished batch is given to a second worker where that one is expected to need less than this part of the time left."""
_SHORT_SECONDS = 1.0
"""Items that take less are handed to all cores of a worker together, and reported together."""
_BISECTIONS = 40


@dataclass(frozen=True)
class Batch:
    """Items `first` to `first + count - 1`."""

    first: int
    count: int


@dataclass
class _Open:
    batch: Batch
    began: float | None
    """When a core took it up; None while it waits for one."""
    given: float


@dataclass
class _Worker:
    cores: int
    seconds: float | None = None
    """Of an item on one core; None while nothing is known."""
    open: list[_Open] = field(default_factory=list)
    delay: float = 0.0
    """Seconds that a batch and its result are under way. A batch takes as long at least, so that the next is there in time."""

    def next_times(self, now: float) -> list[float]:
        """When each core can begin with what the worker does not have yet: it is given more when a result of it is here."""
        times, ends = self._course(now)
        told = now if self.lanes > 0 else min(end for end, _ in ends) + self.delay
        return [max(time, now, told) for time in times]

    @property
    def lanes(self) -> int:
        """How many more batches it may have."""
        return self.cores - sum(each.began is None for each in self.open)

    def learn(self, batch: Batch, seconds: float, now: float) -> float:
        """A batch is done, an item of which took so long, and its result is here; when it was done."""
        self.seconds = seconds if self.seconds is None else self.seconds + _SMOOTHING * (seconds - self.seconds)
        each = next(each for each in self.open if each.batch == batch)
        if each.began is None:
            return now
        if each.began == each.given:
            # A worker that was stopped for a while must not be waited for as long each time.
            self.delay = min(max(0.0, now - each.given - batch.count * seconds), LONGEST_SECONDS)
        return min(now, max(now - self.delay, each.began + batch.count * seconds))

    def free_times(self, now: float) -> list[float]:
        """When each core is expected to have nothing more to do."""
        return [max(time, now) for time in self._course(now)[0]]

    def ends(self, now: float) -> list[tuple[float, Batch]]:
        """When each of its batches is expected to be done."""
        return self._course(now)[1]

    def _course(self, now: float) -> tuple[list[float], list[tuple[float, Batch]]]:
        """When its cores, and when its batches are done: what waits goes to the core that is free first."""
        seconds = self.seconds or 0.0
        ends = [(self._end(each.batch, each.began, now), each.batch) for each in self.open if each.began is not None]
        times = sorted([end for end, _ in ends] + [now] * (self.cores - len(ends)))
        for each in self.open:
            if each.began is None:
                times[0] += each.batch.count * seconds
                ends.append((times[0], each.batch))
                times.sort()
        return times, ends

    def _end(self, batch: Batch, began: float, now: float) -> float:
        """When a batch is expected to end; one whose result is late is expected to need half as long again."""
        expected = began + batch.count * (self.seconds or 0.0)
        return expected if expected + self.delay > now else now + (now - began) / 2


class Shares:
    """All items of a piece of work, and who has which."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._pending = deque([Batch(0, total)])
        self._done: set[Batch] = set()
        self._workers: dict[Hashable, _Worker] = {}
        self._ends: tuple[float, float] | None = None
        self.finished = 0
        """Items whose results are there."""

    @property
    def workers(self) -> list[Hashable]:
        """Those that have joined and not left."""
        return list(self._workers)

    def join(self, worker: Hashable, cores: int, seconds: float | None = None) -> None:
        """A worker is there, at any time; `seconds` is what an item takes on one of its cores, where that is known."""
        if worker not in self._workers:
            self._workers[worker] = _Worker(cores, seconds)
            self._ends = None

    def leave(self, worker: Hashable) -> int:
        """A worker is gone: what only it had is to be done again. How many items that are."""
        self._ends = None
        gone = self._workers.pop(worker, None)
        lost = [each.batch for each in gone.open if not self._held(each.batch)] if gone else []
        self._pending.extendleft(lost)
        return sum(batch.count for batch in lost)

    def miss(self, worker: Hashable, batch: Batch) -> int:
        """The result of a worker's batch did not arrive: it is to be done again, if nobody else has it. How many items."""
        self._ends = None
        own = self._workers.get(worker)
        if not own:
            return 0
        own.open = [each for each in own.open if each.batch != batch]
        if self._held(batch):
            return 0
        self._pending.appendleft(batch)
        return batch.count

    def next(self, worker: Hashable, now: float) -> Batch | None:
        """The next batch of a worker; None where it has enough, or others will be done sooner without it."""
        own = self._workers[worker]
        if own.lanes <= 0:
            return None
        batch = self._cut(own, now) if self._pending else self._second(own, now)
        if batch:
            waits = sum(each.began is not None for each in own.open) >= own.cores
            own.open.append(_Open(batch, None if waits else now, now))
        return batch

    def together(self, worker: Hashable, batches: list[Batch]) -> list[list[Batch]]:
        """Its next batches, cut into those that it can do at the same time: one for each core at most."""
        own = self._workers[worker]
        size = own.cores if own.seconds is not None and own.seconds < _SHORT_SECONDS else 1
        return [batches[first : first + size] for first in range(0, len(batches), size)]

    def finish(self, worker: Hashable, batch: Batch, seconds: float, now: float) -> bool:
        """A worker has done a batch, an item of which took it so many seconds; whether it was the first to.

        What comes of a worker after it left does not count: its batches are others' by then, maybe cut anew.
        """
        own = self._workers.get(worker)
        if not own or all(each.batch != batch for each in own.open):
            return False
        self._ends = None
        ended = own.learn(batch, seconds, now)
        own.open = [each for each in own.open if each.batch != batch]
        free = own.cores - sum(each.began is not None for each in own.open)
        for each in [each for each in own.open if each.began is None][:free]:
            each.began = ended
        if batch in self._done:
            return False
        self._done.add(batch)
        self.finished += batch.count
        return True

    def _held(self, batch: Batch) -> bool:
        return batch in self._done or any(each.batch == batch for w in self._workers.values() for each in w.open)

    def _cut(self, own: _Worker, now: float) -> Batch | None:
        """A part of what nobody has yet."""
        count = 1
        if own.seconds:
            room = int((self._finish_time(now) - own.free_times(now)[0]) / own.seconds + 1e-9)
            if room < 1:
                return None
            least = min(room, int(own.delay / own.seconds))
            count = max(1, min(max(room // 2, least), int(LONGEST_SECONDS / own.seconds)))
        first = self._pending.popleft()
        if first.count > count:
            self._pending.appendleft(Batch(first.first + count, first.count - count))
        return Batch(first.first, min(count, first.count))

    def _second(self, own: _Worker, now: float) -> Batch | None:
        """What another worker has and is not expected to finish soon: whoever is first counts."""
        if not own.seconds or len(own.open) >= own.cores:
            return None
        open_ = [(end + other.delay, batch) for other in self._workers.values() if other is not own
                 for end, batch in other.ends(now)]  # fmt: skip
        held = [batch for worker in self._workers.values() for batch in (each.batch for each in worker.open)]
        alone = [(end, batch) for end, batch in open_ if held.count(batch) == 1 and batch not in self._done]
        end, batch = max(alone, key=lambda found: found[0], default=(0.0, None))
        return batch if batch and batch.count * own.seconds + own.delay < _GAIN * (end - now) else None

    def _finish_time(self, now: float) -> float:
        """When all is done at the earliest, by the rates that are known. Once for all that is handed out at a moment."""
        if not self._ends or self._ends[0] != now:
            left = sum(batch.count for batch in self._pending)
            cores = [(time, w.seconds) for w in self._workers.values() if w.seconds for time in w.next_times(now)]
            self._ends = now, earliest_end(left, cores)
        return self._ends[1]


def earliest_end(items: int, cores: list[tuple[float, float]]) -> float:
    """When so many equal items are done at the earliest: each goes to the core that finishes it first.

    Args:
        items: how many.
        cores: of each core when it is free, and the seconds that it takes for an item. At least one.
    """
    low = min(time for time, _ in cores)
    high = max(time for time, _ in cores) + (items + 1) * max(seconds for _, seconds in cores)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        done = sum(int((middle - time) / seconds) for time, seconds in cores if middle > time)
        low, high = (low, middle) if done >= items else (middle, high)
    return high
