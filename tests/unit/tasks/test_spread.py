"""Work in batches by threads that are the workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping

import pytest
from tasks.batches import spread as module
from tasks.batches.shares import Batch
from tasks.batches.spread import BatchLostError, Crew, NoWorkersError, Part, WorkerLostError, spread


class Threads(Crew):
    """Workers of one core each; `lost` ones raise with their second batch."""

    def __init__(self, *names: str, lost: tuple[str, ...] = (), fault: Exception | None = None) -> None:
        self._names, self._lost, self._fault = list(names), lost, fault
        self._given: dict[Hashable, int] = {}
        self.dropped: list[Hashable] = []

    def workers(self) -> Mapping[Hashable, int]:
        return dict.fromkeys(self._names, 1)

    def submit(self, worker: Hashable, batch: Batch, done: Callable[[Callable[[], Part]], None]) -> None:
        self._given[worker] = self._given.get(worker, 0) + 1
        gone = worker in self._lost and self._given[worker] > 1

        def work() -> None:
            time.sleep(0.001 * batch.count)
            done(lambda: self._result(batch, gone))

        threading.Thread(target=work).start()

    def drop(self, worker: Hashable) -> None:
        self.dropped.append(worker)

    def _result(self, batch: Batch, gone: bool) -> Part:
        if self._fault:
            raise self._fault
        if gone:
            raise WorkerLostError("gone")
        return Part(list(range(batch.first, batch.first + batch.count)), 0.001, bytes=10)


def test_every_result_is_taken_once() -> None:
    taken: list[int] = []
    seen: list[int] = []
    summary = spread(Threads("a", "b"), 300, lambda batch, value: taken.extend(value), seen.append)
    assert sorted(taken) == list(range(300))
    assert sum(summary.items.values()) == 300
    assert seen[-1] == 300
    assert set(summary.rates) == {"a", "b"}
    assert summary.best_seconds(300) == pytest.approx(0.15, abs=0.02)


def test_a_worker_that_goes_is_told_and_its_items_are_done_again() -> None:
    crew = Threads("a", "b", lost=("b",))
    taken: list[int] = []
    summary = spread(crew, 200, lambda batch, value: taken.extend(value))
    assert sorted(taken) == list(range(200))
    assert list(summary.lost) == ["b"]
    assert crew.dropped == ["b"]


class Unreliable(Threads):
    """Every worker's third result gets lost on its way."""

    def _result(self, batch: Batch, gone: bool) -> Part:
        self._given["all"] = self._given.get("all", 0) + 1
        if self._given["all"] % 3 == 0:
            raise BatchLostError("timed out")
        return super()._result(batch, gone)


def test_a_result_that_does_not_arrive_is_made_again_and_its_worker_stays() -> None:
    taken: list[int] = []
    summary = spread(Unreliable("a", "b"), 200, lambda batch, value: taken.extend(value))
    assert sorted(taken) == list(range(200))
    assert not summary.lost
    assert summary.redone == sum(summary.missed.values()) > 0
    assert set(summary.items) == {"a", "b"}


def test_what_a_task_raises_ends_the_work() -> None:
    with pytest.raises(ZeroDivisionError):
        spread(Threads("a", fault=ZeroDivisionError()), 5, lambda batch, value: None)


def test_without_workers_it_ends_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EMPTY_SECONDS", 0.2)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.05)
    with pytest.raises(NoWorkersError):
        spread(Threads(), 5, lambda batch, value: None)
