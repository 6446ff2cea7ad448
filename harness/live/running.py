"""What the ranks of the trial that runs have said, as lines of its events.jsonl come. Pure."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any

from harness.contract import wire
from harness.contract.events import Event
from harness.contract.json_line import parse_json_line
from harness.results.rows import moment_of
from harness.sweep.pace import Pace

_MOST_ERRORS = 5
_MOST_RANKS = 4096
_KINDS = (wire.READY, wire.PROGRESS, wire.EPOCH, wire.DONE, wire.ERROR)


class Said:
    """What one start of a trial's ranks has said."""

    def __init__(self, epochs: int | None) -> None:
        self.pace = Pace(epochs)
        self.ready: set[str] = set()
        """The ranks that are ready to train."""
        self.workers: float | None = None
        """How many there are, as one of them says."""
        self.ends = False
        """Whether a rank is done."""
        self.errors: deque[str] = deque(maxlen=_MOST_ERRORS)
        """What ranks say went wrong; the last of it."""
        self.began: float | None = None
        """When the first of them said anything, in s since 1970."""

    def add(self, line: str) -> None:
        """One line of the file; what is no event of the harness's own is left out."""
        if not any(f'"{kind}"' in line for kind in _KINDS):
            return
        with suppress(ValueError):
            values = parse_json_line(line)
            moment = moment_of(str(values.get("time")))
            kind = values.get("event")
            if moment is not None and kind in _KINDS:
                self._take(moment, str(values.get("role")), Event(str(kind), values))

    def _take(self, moment: float, rank: str, event: Event) -> None:
        self.began = moment if self.began is None else min(self.began, moment)
        if event.kind == wire.READY:
            if len(self.ready) < _MOST_RANKS:
                self.ready.add(rank)
            self.workers = event.number("workers") or self.workers
        elif event.kind == wire.DONE:
            self.ends = True
        elif event.kind == wire.ERROR:
            self.errors.append(f"{rank}: {_text(event.values.get('message'))}")
        if event.number("rank") == 0:  # one speaks for all, since they go in step
            self._follow(moment, event)

    def _follow(self, moment: float, event: Event) -> None:
        epoch = event.number("epoch") or 0
        if event.kind == wire.READY:
            self.pace.ready(moment)
        elif event.kind == wire.PROGRESS:
            self.pace.progress(moment, epoch, event.number("step") or 0, event.number("steps") or 0)
        elif event.kind == wire.EPOCH:
            self.pace.finished(moment, epoch)


def _text(value: Any) -> str:
    return str(value)[:300]
