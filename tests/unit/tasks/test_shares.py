"""Batches by rate: everything is done once, close to the best schedule, whoever comes, goes or is slow."""

from __future__ import annotations

import heapq
import random
from functools import partial

import pytest
from tasks.batches.shares import LONGEST_SECONDS, Batch, Shares, earliest_end

MACHINES = {"pi1": (4, 0.112), "desktop": (7, 0.03), "pi2": (4, 0.112), "laptop": (7, 0.04)}


class Simulation:
    """Workers that take exactly what they are said to; time is counted, not waited for."""

    def __init__(self, total: int, machines: dict[str, tuple[int, float]], noise: float = 0.0) -> None:
        self.shares, self.machines, self.noise = Shares(total), dict(machines), noise
        self.now, self.done, self.batches = 0.0, [0] * total, 0
        self.random = random.Random(0)  # noqa: S311 - a simulation
        self._events: list[tuple[float, int, str, Batch]] = []
        self._waiting: dict[str, list[Batch]] = {name: [] for name in machines}
        self._busy = dict.fromkeys(machines, 0)
        for name, (cores, _) in machines.items():
            self.shares.join(name, cores)

    def run(self, lose: tuple[str, float] | None = None) -> float:
        """To the end; `lose` is a worker that goes at a time."""
        while self.shares.finished < len(self.done):
            self._hand_out()
            assert self._events, "nobody has anything to do, and not all is done"
            self.now, _, name, batch = heapq.heappop(self._events)
            if lose and self.now >= lose[1] and lose[0] in self.machines:
                del self.machines[lose[0]]
                self.shares.leave(lose[0])
            if name not in self.machines:
                continue
            self._busy[name] -= 1
            if self.shares.finish(name, batch, self.machines[name][1], self.now):
                for item in range(batch.first, batch.first + batch.count):
                    self.done[item] += 1
            self._start(name)
        return self.now

    def _hand_out(self) -> None:
        for name in self.machines:
            while batch := self.shares.next(name, self.now):
                assert batch.count * self.machines[name][1] <= LONGEST_SECONDS + self.machines[name][1]
                self.batches += 1
                self._waiting[name].append(batch)
            self._start(name)

    def _start(self, name: str) -> None:
        cores, seconds = self.machines[name]
        while self._waiting[name] and self._busy[name] < cores:
            batch = self._waiting[name].pop(0)
            self._busy[name] += 1
            took = batch.count * seconds * (1 + self.noise * self.random.random())
            heapq.heappush(self._events, (self.now + took, self.batches, name, batch))
            self.batches += 1


def best(total: int, machines: dict[str, tuple[int, float]]) -> float:
    return earliest_end(total, [(0.0, seconds) for cores, seconds in machines.values() for _ in range(cores)])


@pytest.mark.parametrize(("total", "limit"), [(1, 1.01), (100, 1.5), (500, 1.15), (8000, 1.02)])
def test_everything_is_done_once_and_close_to_the_best_schedule(total: int, limit: float) -> None:
    simulation = Simulation(total, MACHINES)
    if total == 1:
        simulation = Simulation(1, {"pi1": (4, 0.112)})
        assert simulation.run() == pytest.approx(0.112)
        return
    assert simulation.run() <= limit * best(total, MACHINES)
    assert set(simulation.done) == {1}


def test_batches_shrink_so_that_unsteady_workers_end_together() -> None:
    simulation = Simulation(8000, MACHINES, noise=0.2)
    slowed = {name: (cores, seconds * 1.1) for name, (cores, seconds) in MACHINES.items()}
    assert simulation.run() <= 1.03 * best(8000, slowed)
    assert simulation.batches < 8000


def test_what_a_lost_worker_had_is_done_by_others() -> None:
    simulation = Simulation(2000, MACHINES)
    took = simulation.run(lose=("desktop", 3.0))
    assert set(simulation.done) == {1}
    assert "desktop" not in simulation.shares.workers
    rest = {name: each for name, each in MACHINES.items() if name != "desktop"}
    assert took <= 3.0 + 1.1 * best(2000, rest)


def test_a_worker_that_comes_late_takes_work() -> None:
    shares = Shares(100)
    shares.join("a", 1)
    assert shares.next("a", 0.0) == Batch(0, 1)
    shares.join("b", 1)
    assert shares.next("b", 1.0) == Batch(1, 1)


def test_a_stuck_batch_is_given_to_another_and_counts_once() -> None:
    shares = Shares(2)
    shares.join("fast", 1)
    shares.join("stuck", 1)
    first, stuck = shares.next("fast", 0.0), shares.next("stuck", 0.0)
    assert first
    assert stuck
    assert shares.finish("fast", first, 1.0, 1.0)
    shares._workers["stuck"].seconds = 1.0
    assert shares.next("fast", 1.0) is None, "the other is expected to be done at once"
    again = shares.next("fast", 60.0)
    assert again == stuck
    assert shares.finish("fast", stuck, 1.0, 61.0)
    assert shares.finished == 2
    assert not shares.finish("stuck", stuck, 62.0, 62.0)
    assert shares.finished == 2


def test_the_earliest_end_is_that_of_the_greedy_schedule() -> None:
    assert earliest_end(3, [(0.0, 1.0), (0.0, 2.0)]) == pytest.approx(2.0, abs=1e-6)
    assert earliest_end(1, [(5.0, 1.0), (0.0, 10.0)]) == pytest.approx(6.0, abs=1e-6)


def test_a_worker_that_falls_silent_keeps_nothing_for_itself() -> None:
    """Also what waited for its cores is given to another, long before anybody says that it is gone."""
    shares = Shares(12)
    shares.join("silent", 1)
    shares.join("other", 1)
    now, held = 0.0, [shares.next("silent", 0.0), shares.next("silent", 0.0)]
    assert None not in held
    assert shares.next("silent", 0.0) is None
    while shares.finished < 12 and now < 30:
        now += 0.5
        while batch := shares.next("other", now):
            shares.finish("other", batch, 0.1, now)
    assert shares.finished == 12
    assert now < 20


def test_what_comes_of_a_worker_that_left_does_not_count_twice() -> None:
    shares = Shares(10)
    shares.join("a", 1)
    shares.join("b", 1)
    first = shares.next("a", 0.0)
    assert first
    shares.leave("a")
    assert not shares.finish("a", first, 0.1, 1.0)
    assert shares.finished == 0
    done: list[int] = []
    while batch := shares.next("b", 2.0):
        assert shares.finish("b", batch, 0.1, 2.0)
        done += range(batch.first, batch.first + batch.count)
    assert sorted(done) == list(range(10))


def test_a_rate_that_is_known_before_work_begins_saves_the_single_items() -> None:
    shares = Shares(8000)
    for name, (cores, seconds) in MACHINES.items():
        shares.join(name, cores, seconds)
    first = shares.next("desktop", 0.0)
    assert first
    assert first.count == int(LONGEST_SECONDS / 0.03)


def test_short_items_are_handed_to_all_cores_of_a_worker_together() -> None:
    shares = Shares(1000)
    shares.join("short", 4, 0.1)
    shares.join("long", 4, 10.0)
    shares.join("unknown", 4)
    batches = [Batch(number, 1) for number in range(6)]
    assert shares.together("short", batches) == [batches[:4], batches[4:]]
    assert shares.together("long", batches) == shares.together("unknown", batches) == [[batch] for batch in batches]


def test_a_batch_takes_as_long_as_it_and_its_result_are_under_way() -> None:
    """Towards the end: otherwise the cores wait for each next item."""
    shares = Shares(100)
    shares.join("far", 1, 0.1)
    first = shares.next("far", 0.0)
    assert first == Batch(0, 30)
    assert shares.next("far", 0.0) == Batch(30, 30)
    shares.finish("far", first, 0.1, 5.0)  # 2 s of it under way
    assert shares.next("far", 5.0) == Batch(60, 20)
    shares.finish("far", Batch(30, 30), 0.1, 8.0)
    assert shares.next("far", 8.0) == Batch(80, 20), "half of what is left would be done before more could come"


def test_a_result_that_is_under_way_is_not_late() -> None:
    shares = Shares(40)
    shares.join("far", 1, 0.1)
    shares.join("near", 1, 0.1)
    assert shares.next("far", 0.0) == Batch(0, 10)
    shares.finish("far", Batch(0, 10), 0.1, 3.0)  # 2 s of it under way
    held = shares.next("far", 3.0)
    assert held == Batch(10, 15)
    while batch := shares.next("near", 4.0):
        shares.finish("near", batch, 0.1, 4.0)
    assert shares.finished == 25
    assert shares.next("near", 5.5) is None, "done at 4.5, and here at 6.5"
    assert shares.next("near", 30.0) == held


def test_a_worker_that_once_took_long_is_not_waited_for_as_long_again() -> None:
    shares = Shares(40)
    shares.join("stopped", 1, 0.1)
    first = shares.next("stopped", 0.0)
    assert first
    shares.finish("stopped", first, 0.1, 100.0)
    assert shares._workers["stopped"].delay == LONGEST_SECONDS


def under_way(total: int, there: float, back: float) -> tuple[float, float]:
    """When all results are here and when all was done, where batches need a time to a worker, and their results one back."""
    shares, now, number = Shares(total), 0.0, 0
    for name, (cores, seconds) in MACHINES.items():
        shares.join(name, cores, seconds)
    free = {name: [0.0] * cores for name, (cores, _) in MACHINES.items()}
    results: list[tuple[float, int, str, list[Batch]]] = []
    while True:
        for name, (_, seconds) in MACHINES.items():
            for group in shares.together(name, list(iter(partial(shares.next, name, now), None))):
                ends = []
                for batch in group:
                    free[name].sort()
                    free[name][0] = max(free[name][0], now + there) + batch.count * seconds
                    ends.append(free[name][0])
                number += 1
                heapq.heappush(results, (max(ends) + back, number, name, group))
        now, _, name, group = heapq.heappop(results)
        for batch in group:
            shares.finish(name, batch, MACHINES[name][1], now)
        if shares.finished == total:
            return now, max(time for times in free.values() for time in times)


@pytest.mark.parametrize("total", [4000, 8000])
def test_no_core_waits_for_what_is_under_way(total: int) -> None:
    here, done = under_way(total, there=0.2, back=0.8)
    fastest = min(seconds for _, seconds in MACHINES.values())
    slowest = max(seconds for _, seconds in MACHINES.values())
    assert done <= 0.2 + best(total, MACHINES) + slowest + 2 * fastest, "the cores end together"
    assert here <= done + 0.8 + 1e-9, "nothing is done twice"
