"""Work in batches by threads that are the workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from tasks.batches import spread as module
from tasks.batches.crews import rehearsed
from tasks.batches.shares import Batch
from tasks.batches.spread import BatchLostError, Crew, Done, NoWorkersError, Part, WorkerLostError, spread


class Threads(Crew):
    """Workers of one core each; `lost` ones raise with their second batch."""

    def __init__(self, *names: str, lost: tuple[str, ...] = (), fault: Exception | None = None) -> None:
        self._names, self._lost, self._fault = list(names), lost, fault
        self._given: dict[Hashable, int] = {}
        self.dropped: list[Hashable] = []

    def workers(self) -> Mapping[Hashable, int]:
        return dict.fromkeys(self._names, 1)

    def submit(self, worker: Hashable, batches: Sequence[Batch], done: Done) -> None:
        (batch,) = batches  # of one core
        self._given[worker] = self._given.get(worker, 0) + 1
        gone = worker in self._lost and self._given[worker] > 1

        def work() -> None:
            time.sleep(0.001 * batch.count)
            done([(batch, lambda: self._result(batch, gone))])

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


class Known(Threads):
    """Rates are known, and batches come together."""

    groups: list[list[Batch]]

    def workers(self) -> Mapping[Hashable, int]:
        return dict.fromkeys(self._names, 3)

    def item_seconds(self, worker: Hashable) -> float | None:
        return 0.001

    def submit(self, worker: Hashable, batches: Sequence[Batch], done: Done) -> None:
        self.groups = [*getattr(self, "groups", []), list(batches)]
        threading.Timer(
            0.001 * batches[0].count, lambda: done([(each, partial(self._result, each, False)) for each in batches])
        ).start()


def test_batches_that_a_worker_gets_at_once_are_submitted_and_come_back_together() -> None:
    crew = Known("a", "b")
    events: list[str] = []
    taken: list[int] = []

    def take(batch: Batch, value: list[int]) -> None:
        events.append(f"take after {len(crew.groups)}")
        taken.extend(value)

    summary = spread(crew, 600, take)
    assert sorted(taken) == list(range(600))
    assert [len(group) for group in crew.groups[:4]] == [3, 3, 3, 3]
    assert summary.batches == sum(len(group) for group in crew.groups) < 100
    assert events[0] >= "take after 5", "who waits for work gets it before a result is unpacked"


def test_a_rate_is_known_beforehand_where_the_work_does_not_raise() -> None:
    with ThreadPoolExecutor(2) as pool:
        assert rehearsed(pool, 2, lambda first, count: Part(None, 0.5), 3) == 0.5
        assert rehearsed(pool, 2, lambda first, count: Part(None, 1 / 0), 3) is None
        assert rehearsed(pool, 2, lambda first, count: Part(None, 0.5), 0) is None


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
