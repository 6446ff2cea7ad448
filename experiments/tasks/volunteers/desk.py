"""Hands out tasks and takes results, for many threads at once: nothing of the run is anywhere else.

A volunteer that goes away costs its task, which others do again, and nothing else.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from training.engines.base import Floats
from training.schedule import decay

from ..batches.shares import Batch
from .account import Account, Measurement
from .merging import Merging, fault
from .messages import Result, Task
from .portions import Portions, Sizing

_LOOK_SECONDS = 0.2
"""So often who waits for a task looks whether another one is late with his."""
MOST_REFUSED = 3
"""So many refused results in a row, and a volunteer gets no more tasks."""


@dataclass(frozen=True)
class Plan:
    """The work, and how it is handed out."""

    steps: int
    """Of the run."""
    batch: int
    """Images of a step."""
    windows: int
    round_steps: int | None
    """Of a round; None: there are no rounds, a change is merged when it arrives."""
    sizing: Sizing
    even: bool
    """Whether a round's tasks are as many, equally long, as there are volunteers."""
    rate: float
    decay: str = "none"
    decay_begins: float = 0.0
    oldest: int = 50
    """A change is refused when so many others were applied since its task was given."""
    largest: float = 2.0
    """A change is refused that is so many times longer than the shared values."""


@dataclass
class _Volunteer:
    node: str
    task: Task | None = None
    began: float = 0.0
    seconds: float | None = None
    refused: int = 0


class Desk:
    """The run's state."""

    def __init__(self, plan: Plan, merging: Merging, clock: Callable[[], float] = time.monotonic) -> None:
        self.plan = plan
        self.merging = merging
        self.account = Account()
        self.measurements: queue.SimpleQueue[Measurement] = queue.SimpleQueue()
        """Of windows that are over."""
        self.version = 0
        self._clock = clock
        self._changed = threading.Condition()
        self._volunteers: dict[Hashable, _Volunteer] = {}
        self._done = 0  # steps of earlier rounds
        self._window = 1
        self._begin = self._window_began = 0.0
        self._closed = False
        self._begun = False
        self._round = Portions(0, plan.sizing)
        self._total = 0  # steps of the round

    @property
    def present(self) -> int:
        """How many volunteers are there."""
        return len(self._volunteers)

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self._done >= self.plan.steps

    def come(self, key: Hashable, node: str) -> None:
        """A volunteer is there, at any time."""
        with self._changed:
            self._volunteers[key] = _Volunteer(node)
            self._round.come(key, None)
            self._changed.notify_all()

    def begin(self) -> None:
        """Start to hand out tasks."""
        with self._changed:
            self._begin = self._window_began = self._clock()
            self._begun = True
            self._open()
            self._changed.notify_all()

    def close(self) -> None:
        """Hand out no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def next(self, key: Hashable, seconds: float) -> tuple[Task, Floats] | None:
        """Wait so long at most for a volunteer's next task, and the values to begin with; None where there is none."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._closed and not self.finished and time.monotonic() < until:
                volunteer, now = self._volunteers[key], self._clock()
                batch = self._round.next(key, now) if self._begun else None
                if batch:
                    volunteer.task, volunteer.began = self._task(batch), now
                    return volunteer.task, self.merging.centre
                self._changed.wait(min(_LOOK_SECONDS, max(0.0, until - time.monotonic())))
        return None

    def take(self, key: Hashable, result: Result, change: Floats) -> str:
        """Take the result of a volunteer's task: empty where it counts, else why not."""
        with self._changed:
            volunteer = self._volunteers[key]
            task, volunteer.task = volunteer.task, None
            if task is None:
                return "belongs to no task"
            images = task.steps * self.plan.batch
            if late := self._late(task, result):
                self.account.lost(volunteer.node, images)
                return late
            why = self._fault(task, result, change)
            if why:
                self._refuse(key, volunteer, images)
                return why
            now = self._clock()
            if not self._round.finish(key, self._batch(task), (now - volunteer.began) / task.steps, now):
                self.account.lost(volunteer.node, images)
                return "came second"
            volunteer.seconds, volunteer.refused = self._round.seconds(key), 0
            self._merge(volunteer, task, result, change)
            self._changed.notify_all()
            return ""

    def dismissed(self, key: Hashable) -> bool:
        """Whether a volunteer has sent too much that was refused."""
        return self._volunteers[key].refused >= MOST_REFUSED

    def leave(self, key: Hashable) -> int:
        """A volunteer is gone: images of the task that it had."""
        with self._changed:
            volunteer = self._volunteers.pop(key, None)
            if volunteer is None:
                return 0
            self._round.leave(key)
            images = volunteer.task.steps * self.plan.batch if volunteer.task else 0
            if images and not self.finished:
                self.account.lost(volunteer.node, images)
            self._changed.notify_all()
            return images

    def _open(self) -> None:
        """Begin a round, of all that is left where there are no rounds."""
        left = self.plan.steps - self._done
        self._total = total = left if self.plan.round_steps is None else min(self.plan.round_steps, left)
        sizing = self.plan.sizing
        if self.plan.even:
            sizing = Sizing(equal=-(-total // max(1, self.present)), backups=sizing.backups)
        self._round = Portions(total, sizing)
        for key, volunteer in self._volunteers.items():
            self._round.come(key, volunteer.seconds)

    def _task(self, batch: Batch) -> Task:
        first = self._done + batch.first
        rate = self.plan.rate * decay(self.plan.decay, first, self.plan.steps, self.plan.decay_begins)
        return Task(self.version, first, batch.count, rate, self._window)

    def _batch(self, task: Task) -> Batch:
        return Batch(task.first - self._done, task.steps)

    def _late(self, task: Task, result: Result) -> str:
        """Why a result comes too late to count: another one had the same task, and was first."""
        if self.merging.waits and task.version != self.version and result.version == task.version:
            return f"is of the version {result.version}, and {self.version} is the one now"
        return ""

    def _fault(self, task: Task, result: Result, change: Floats) -> str:
        if not result.of(task) or result.images != task.steps * self.plan.batch:
            return "is of another task"
        if result.version != task.version:
            return f"is of the version {result.version}, and its task of {task.version}"
        if self.version - task.version > self.plan.oldest:
            return f"is of the version {result.version}, and {self.version} is the one now"
        return fault(change, self.merging.centre, self.plan.largest)

    def _refuse(self, key: Hashable, volunteer: _Volunteer, images: int) -> None:
        """Others are to do the task again; so may the volunteer, a few times."""
        self._round.leave(key)
        self._round.come(key, volunteer.seconds)
        volunteer.refused += 1
        self.account.lost(volunteer.node, images, refused=True)
        self._changed.notify_all()

    def _merge(self, volunteer: _Volunteer, task: Task, result: Result, change: Floats) -> None:
        staleness = self.version - task.version
        self.merging.add(change, task.steps, staleness)
        images = task.steps * self.plan.batch
        self.account.counted(volunteer.node, images, result.seconds, result.loss, staleness)
        done = self._done + self._round.finished
        whole = self._round.finished >= self._total
        if whole:
            self.merging.close()
        if whole or not self.merging.waits:
            self.version += 1
            self._measure(done, task.rate)
        if whole:
            self._done = done
            if not self.finished:
                self._open()

    def _measure(self, done: int, rate: float) -> None:
        """Note every window that is over."""
        plan = self.plan
        while self._window <= plan.windows and done * plan.windows >= plan.steps * self._window:
            now = self._clock()
            steps = plan.steps * self._window // plan.windows - plan.steps * (self._window - 1) // plan.windows
            self.measurements.put(
                self.account.measured(
                    self._window, now - self._window_began, now - self._begin, steps, rate, self.merging.centre,
                    self.present,
                )
            )  # fmt: skip
            self._window_began = now
            self._window += 1
