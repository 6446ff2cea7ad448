"""How far a running trial is, how fast its steps are, and how long it and the trials after it will take. Pure.

All times are of one clock, in s; which one does not matter.
"""

from __future__ import annotations

import re
from collections import deque

_POINTS = 10
"""Of `progress` events, at most one a second: what a rate is measured over."""
_LEAST_SHARE = 0.02
"""Of a trial: after less than that its end is not foretold."""
_REPEAT = re.compile(r"-r\d+(?=-|$)")


class Pace:
    """How one start of a trial's ranks gets on, by the events of one worker."""

    def __init__(self, epochs: int | None) -> None:
        """`epochs` is how many the trial trains in all, None where its program does not say: then it has one."""
        self.epochs = epochs
        self.epoch: float | None = None
        self.step: float | None = None
        self.steps: float | None = None
        self.share = 0.0
        """Of the trial that is done, 0 to 1."""
        self.steps_per_second: float | None = None
        """Over the last seconds of the epoch; None before it is known."""
        self._began: float | None = None
        self._share_before = 0.0
        """Of epochs that an earlier start has done."""
        self._last = 0.0
        self._points: deque[tuple[float, float]] = deque(maxlen=_POINTS)

    def ready(self, moment: float) -> None:
        """Training begins."""
        self._began = self._last = moment

    def progress(self, moment: float, epoch: float, step: float, steps: float) -> None:
        """So many steps of an epoch are done."""
        self._note_first(moment, epoch)
        if epoch != self.epoch:
            self._points.clear()  # between epochs no steps are made
        self.epoch, self.step, self.steps = epoch, step, max(steps, 1)
        self._points.append((moment, step))
        (first, before), (last, after) = self._points[0], self._points[-1]
        if last > first and after > before:
            self.steps_per_second = (after - before) / (last - first)
        self._move(moment, (epoch - 1 + step / self.steps) / (self.epochs or 1))

    def finished(self, moment: float, epoch: float) -> None:
        """An epoch is done."""
        self._note_first(moment, epoch)
        self.epoch, self.step = epoch, None
        self._points.clear()
        if self.epochs:
            self._move(moment, epoch / self.epochs)

    def seconds_left(self, now: float) -> float | None:
        """Of the trial; None while too little of it is done."""
        gained = self.share - self._share_before
        if self._began is None or gained < _LEAST_SHARE or self._last <= self._began:
            return None
        left = (self._last - self._began) * (1 - self.share) / gained
        return max(left - max(now - self._last, 0.0), 0.0)

    def _note_first(self, moment: float, epoch: float) -> None:
        """The first epoch that is told of: those before it were not of this start."""
        if self.epoch is None:
            self._began = moment if self._began is None else self._began
            self._share_before = min(max((epoch - 1) / (self.epochs or 1), 0.0), 1.0)

    def _move(self, moment: float, share: float) -> None:
        self._last = moment
        self.share = min(max(share, 0.0), 1.0)


class Costs:
    """What trials took that are over, and so what others will take."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._sums: dict[tuple[str, ...], tuple[float, int]] = {}

    def add(self, trial: str, seconds: float) -> None:
        """A trial with this id took so long; what it took before is forgotten."""
        before = self._seconds.get(trial)
        self._seconds[trial] = seconds
        for kind in _kinds(trial):
            total, count = self._sums.get(kind, (0.0, 0))
            self._sums[kind] = total + seconds - (before or 0.0), count + (before is None)

    def expected(self, trial: str) -> float | None:
        """The mean of the trial's other repeats, else of the trials on as many nodes, else of all; None where none is over."""
        for kind in _kinds(trial):
            if kind in self._sums:
                total, count = self._sums[kind]
                return total / count
        return None

    def rest(self, trial: str, spent: float, foretold: float | None) -> float | None:
        """What is left of a trial that runs: what its pace foretells, else what others took, less what it has taken."""
        if foretold is not None:
            return foretold
        expected = self.expected(trial)
        return None if expected is None else max(expected - spent, 0.0)


def _kinds(trial: str) -> tuple[tuple[str, ...], ...]:
    """What a trial is one of, the narrowest first."""
    return ("point", _REPEAT.sub("", trial, count=1)), ("size", trial.partition("-")[0]), ()


def clock(seconds: float) -> str:
    """A duration as minutes and seconds: `3:07`, and from an hour on `1:02:07`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
