"""What the ranks of a task program say: events, a sign of life, and each worker's part at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contract import wire
from training.reporting import meters
from training.reporting.events import emit

_PROGRESS_SECONDS = 1.0
_LIFE_SECONDS = 20.0


class Progress:
    """`progress` events of the rank that drives, one a second at most."""

    def __init__(self, rank: int, total: int) -> None:
        self._rank, self._total, self._next = rank, total, 0.0

    def __call__(self, done: int) -> None:
        """So many items are done."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _PROGRESS_SECONDS
            emit(wire.PROGRESS, rank=self._rank, epoch=1, step=done, steps=self._total)


@contextmanager
def alive(what: str) -> Iterator[None]:
    """A line of log now and then, for as long as a library computes that says nothing."""
    ended = threading.Event()

    def speak() -> None:
        began = time.monotonic()
        while not ended.wait(_LIFE_SECONDS):
            print(f"{what}: {time.monotonic() - began:.0f} s", flush=True)

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Measured:
    """What a piece of work costs the rank that makes it."""

    def __init__(self) -> None:
        self._before = meters.read()
        self._began = time.perf_counter()

    def done(self) -> dict[str, Any]:
        """The values of an `epoch` event, without those of the work itself; seconds of training end here."""
        seconds = time.perf_counter() - self._began
        return {"train_seconds": seconds, **(meters.read() - self._before).as_values()}


def say_epoch(rank: int, items: int | None, values: dict[str, Any]) -> None:
    """The row of one rank; all of the work is one epoch."""
    emit(wire.EPOCH, rank=rank, epoch=1, **({} if items is None else {"steps": 1, "images": items}), **values)
