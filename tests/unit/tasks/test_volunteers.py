"""Volunteers without sockets or MXNet: tasks sized by rate, nodes that leave and come, results that are refused."""

from __future__ import annotations

import heapq
import socket
from itertools import count

import numpy as np
import pytest
from tasks.volunteers.desk import MOST_REFUSED, Desk, Plan
from tasks.volunteers.merging import Arriving, Merging, Rounds
from tasks.volunteers.messages import BrokenError, Line, Result, Task, result_of, task_of
from tasks.volunteers.options import moments
from tasks.volunteers.portions import Sizing
from training.engines.base import Floats
from training.errors import ProgramError
from training.rules import RULES
from training.schedule import decay
from training.sharding import Shares

VALUES, BATCH = 8, 64
RATES = {"pi1": 700, "pi2": 700, "pi3": 700, "slow": 350, "laptop": 3500, "desktop": 5600}
"""Images a second: four boards, one of them at half speed, a laptop and a desktop."""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def first() -> Floats:
    return np.ones(VALUES, np.float32)


def averaging(centre: Floats) -> Merging:
    return Rounds(centre, RULES["average"](Shares((BATCH,), 0), VALUES))


def plan(steps: int = 100, **changed: object) -> Plan:
    values: dict[str, object] = {
        "steps": steps, "batch": BATCH, "windows": 1, "round_steps": steps, "sizing": Sizing(), "even": False, "rate": 0.1,
    }  # fmt: skip
    return Plan(**{**values, **changed})  # type: ignore[arg-type]


class Simulation:
    """Volunteers of known rates at a desk; a task takes its steps over the rate, and nothing else takes time."""

    def __init__(self, asked: Plan, merging: Merging | None = None) -> None:
        self.clock = Clock()
        self.desk = Desk(asked, merging or averaging(first()), self.clock)
        self.counted: list[Task] = []
        self.versions: list[int] = []
        self._events: list[tuple[float, int, str]] = []
        self._numbers = count()
        self._tasks: dict[str, Task] = {}
        self._rates: dict[str, float] = {}
        self.gone: dict[str, int] = {}

    def come(self, name: str, rate: float) -> None:
        self._rates[name] = rate
        self.desk.come(name, name)

    def at(self, when: float, what: str) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), what))

    def run(self) -> float:
        """Until all is done; how long it took."""
        self.desk.begin()
        self.at(0.0, "look")
        while not self.desk.finished:
            self._give()
            self.clock.now, _, what = heapq.heappop(self._events)
            verb, _, name = what.partition(" ")
            if verb == "look":
                self.at(self.clock.now + 0.1, what)
            if verb == "leave":
                self._rates.pop(name)
                self._tasks.pop(name, None)
                self.gone[name] = self.desk.leave(name)
            elif verb == "come":
                self.come(name, RATES[name])
            elif verb == "done" and (task := self._tasks.get(name)):
                del self._tasks[name]
                if not self.desk.take(name, done(task), np.zeros(VALUES, np.float32)):
                    self.counted.append(task)
        return self.clock.now

    def _give(self) -> None:
        for name in [name for name in self._rates if name not in self._tasks]:
            if given := self.desk.next(name, 1e-4):
                self._tasks[name] = given[0]
                self.at(self.clock.now + given[0].steps * BATCH / self._rates[name], f"done {name}")


def done(task: Task, **changed: object) -> Result:
    values = {"version": task.version, "first": task.first, "steps": task.steps, "images": task.steps * BATCH,
              "seconds": 1.0, "loss": 1.0}  # fmt: skip
    return Result(**{**values, **changed})  # type: ignore[arg-type]


def whole(tasks: list[Task], steps: int) -> bool:
    """Whether every step was counted once."""
    return sorted(step for task in tasks for step in range(task.first, task.first + task.steps)) == list(range(steps))


def seconds(asked: Plan) -> float:
    simulation = Simulation(asked)
    for name, rate in RATES.items():
        simulation.come(name, rate)
    found = simulation.run()
    assert whole(simulation.counted, asked.steps)
    return found


def test_sized_tasks_end_together_where_equal_ones_wait_for_the_slowest() -> None:
    steps = 937
    ideal = steps * BATCH / sum(RATES.values())
    sized = seconds(plan(steps, round_steps=94))
    equal = seconds(plan(steps, round_steps=94, even=True, sizing=Sizing(backups=False)))
    assert sized < 1.25 * ideal
    assert equal > 3.5 * sized


@pytest.mark.parametrize("merging", ["rounds", "arriving"])
def test_who_leaves_costs_its_task_and_who_comes_gets_some(merging: str) -> None:
    """No step is lost, and none counts twice."""
    rounds = merging == "rounds"
    asked = plan(
        600, round_steps=100 if rounds else None, sizing=Sizing(most_seconds=None if rounds else 0.5), windows=3
    )
    simulation = Simulation(asked, None if rounds else Arriving(first(), 0.6))
    for name, rate in RATES.items():
        if name != "laptop":
            simulation.come(name, rate)
    simulation.at(1.05, "leave desktop")
    simulation.at(1.5, "come laptop")
    simulation.run()
    assert whole(simulation.counted, 600)
    account = simulation.desk.account.shares
    assert sum(share.images for share in account.values()) == 600 * BATCH
    assert simulation.gone["desktop"] == account["desktop"].lost > 0
    assert account["laptop"].images > account["pi1"].images
    assert [simulation.desk.measurements.get_nowait().window for _ in range(3)] == [1, 2, 3]


def test_the_first_one_back_does_not_get_everything() -> None:
    simulation = Simulation(plan(100))
    desk = simulation.desk
    for name in ("a", "b", "c", "d"):
        desk.come(name, name)
    desk.begin()
    tasks = {name: given[0] for name in "abcd" if (given := desk.next(name, 1))}
    assert [task.steps for task in tasks.values()] == [4] * 4
    simulation.clock.now = 1.0
    desk.take("a", done(tasks["a"]), np.zeros(VALUES, np.float32))
    given = desk.next("a", 1)
    assert given
    assert 20 <= given[0].steps <= 25


def test_a_late_task_is_repeated_and_the_first_counts() -> None:
    simulation = Simulation(plan(16, sizing=Sizing(probe=8)))
    desk, clock, nothing = simulation.desk, simulation.clock, np.zeros(VALUES, np.float32)
    for name in ("quick", "hung"):
        desk.come(name, name)
    desk.begin()
    quick, hung = (given[0] for name in ("quick", "hung") if (given := desk.next(name, 1)))
    clock.now = 1.0
    assert not desk.take("quick", done(quick), nothing)
    assert desk.next("quick", 0.01) is None  # it could still be as quick
    clock.now = 10.0
    again = desk.next("quick", 1)
    assert again
    assert (again[0].first, again[0].steps) == (hung.first, hung.steps)
    assert not desk.take("quick", done(again[0]), nothing)
    assert desk.finished
    assert desk.take("hung", done(hung), nothing)
    assert desk.account.shares["hung"].lost == 8 * BATCH
    assert desk.account.shares["quick"].images == 16 * BATCH


@pytest.mark.parametrize(
    ("change", "changed", "words"),
    [
        (np.full(VALUES, np.nan, np.float32), {}, "is not finite"),
        (np.full(VALUES, np.inf, np.float32), {}, "is not finite"),
        (np.full(VALUES, 3, np.float32), {}, "is too large"),
        (np.zeros(0, np.float32), {}, "has no values"),
        (np.zeros(VALUES, np.float32), {"version": 7}, "is of the version 7"),
        (np.zeros(VALUES, np.float32), {"first": 50}, "is of another task"),
        (np.zeros(VALUES, np.float32), {"steps": 1}, "is of another task"),
        (np.zeros(VALUES, np.float32), {"images": 1}, "is of another task"),
    ],
)
def test_what_is_refused_changes_nothing_and_is_done_again(change: Floats, changed: dict[str, int], words: str) -> None:
    desk = Desk(plan(8, sizing=Sizing(probe=8)), averaging(first()), Clock())
    desk.come("bad", "bad")
    desk.begin()
    for number in range(1, MOST_REFUSED + 1):
        given = desk.next("bad", 1)
        assert given
        assert words in desk.take("bad", done(given[0], **changed), change)
        assert desk.dismissed("bad") is (number == MOST_REFUSED)
    assert (desk.merging.centre == first()).all()
    desk.leave("bad")
    desk.come("good", "good")
    given = desk.next("good", 1)
    assert given
    assert not desk.take("good", done(given[0]), np.full(VALUES, 0.5, np.float32))
    assert desk.finished
    assert (desk.merging.centre == 1.5).all()
    assert desk.account.shares["bad"].lost == MOST_REFUSED * 8 * BATCH
    assert desk.measurements.get_nowait().events["refused"] == MOST_REFUSED


def test_a_result_that_counts_makes_up_for_those_that_were_refused_before() -> None:
    desk = Desk(plan(80, sizing=Sizing(equal=8)), averaging(first()), Clock())
    desk.come("a", "a")
    desk.begin()
    for number in range(2 * MOST_REFUSED):
        given = desk.next("a", 1)
        assert given
        bad = number % MOST_REFUSED
        change = np.full(VALUES, np.nan if bad else 0.0, np.float32)
        assert bool(desk.take("a", done(given[0]), change)) is bool(bad)
        assert not desk.dismissed("a")


def test_a_window_tells_what_was_done_in_it_and_when() -> None:
    clock = Clock()
    asked = plan(4, windows=2, round_steps=2, sizing=Sizing(equal=2), rate=0.5, decay="linear")
    desk = Desk(asked, averaging(first()), clock)
    desk.come("a", "pi1")
    desk.begin()
    before, rates = desk.merging.centre, []
    for now, loss in ((3.0, 6.0), (5.0, 4.0)):
        given = desk.next("a", 1)
        assert given
        rates.append(given[0].rate)
        clock.now = now
        assert not desk.take("a", done(given[0], loss=loss), np.full(VALUES, 0.5, np.float32))
    assert rates == [0.5 * decay("linear", step, 4, 0.0) for step in (0, 2)]
    assert rates[1] < rates[0]
    assert (before == first()).all()  # somebody may be sending it still
    windows = [desk.measurements.get_nowait() for _ in range(2)]
    assert [(each.window, each.seconds, each.since, each.steps) for each in windows] == [
        (1, 3.0, 3.0, 2),
        (2, 2.0, 5.0, 2),
    ]
    assert [(each.loss, each.images, each.lost) for each in windows] == [(6.0, 2 * BATCH, 0), (4.0, 2 * BATCH, 0)]
    assert [each.events["shares"] for each in windows] == [{"pi1": 2 * BATCH}, {"pi1": 4 * BATCH}]
    assert windows[1].events["done_again"] == {"pi1": 0}


def test_a_task_that_is_merged_as_it_comes_is_no_longer_than_it_may_be() -> None:
    clock = Clock()
    desk = Desk(plan(1000, round_steps=None, sizing=Sizing(most_seconds=2.0)), Arriving(first(), 0.6), clock)
    desk.come("a", "a")
    desk.begin()
    given = desk.next("a", 1)
    assert given
    clock.now = 1.0  # 4 steps a second
    assert not desk.take("a", done(given[0]), np.zeros(VALUES, np.float32))
    given = desk.next("a", 1)
    assert given
    assert given[0].steps == 8


def test_messages_arrive_as_they_were_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = Line(socket.create_connection(listener.getsockname()), VALUES)
        theirs = Line(listener.accept()[0], VALUES)
    task = Task(3, 8, 2, 0.5, 1)
    ours.say("task", task, first())
    head, values = theirs.hear(5)
    assert (head["kind"], task_of(head)) == ("task", task)
    np.testing.assert_array_equal(values, first())
    theirs.say("result", done(task, loss=float("nan")), np.zeros(3, np.float32))
    with pytest.raises(BrokenError, match="12 bytes"):
        ours.hear(5)
    theirs.close()
    with pytest.raises(BrokenError):
        ours.hear(5)
    ours.close()


@pytest.mark.parametrize(
    "wrong", [{"first": True}, {"steps": -1}, {"images": 1.5}, {"seconds": "1"}, {"version": None}]
)
def test_what_is_no_result_is_refused(wrong: dict[str, object]) -> None:
    said = {"version": 1, "first": 0, "steps": 2, "images": 128, "seconds": 1, "loss": float("nan")}
    assert result_of(said).loss == float("inf")
    with pytest.raises(BrokenError, match="no result"):
        result_of({**said, **wrong})


def test_a_change_that_is_too_stale_is_refused_and_others_count_the_less_the_staler() -> None:
    asked = plan(40, round_steps=None, sizing=Sizing(equal=4, backups=False), oldest=3)
    desk = Desk(asked, Arriving(first(), 0.6), Clock())
    for name in ("slow", "slower", "quick"):
        desk.come(name, name)
    desk.begin()
    slow, slower = (given[0] for name in ("slow", "slower") if (given := desk.next(name, 1)))
    change, expected = np.full(VALUES, 0.5, np.float32), first()
    for _ in range(3):
        given = desk.next("quick", 1)
        assert given
        assert not desk.take("quick", done(given[0]), change)
        expected += np.float32(0.6) * change
    assert not desk.take("slow", done(slow), change)
    expected += np.float32(0.6 / 2) * change  # three others were applied since
    assert desk.merging.centre == pytest.approx(expected)
    assert "is of the version 0, and 4 is the one now" in desk.take("slower", done(slower), change)
    assert desk.merging.centre == pytest.approx(expected)
    while given := desk.next("quick", 0.01):
        desk.take("quick", done(given[0]), change)
    assert desk.finished  # what was refused was done again
    assert desk.account.shares["quick"].images == 36 * BATCH


def test_rounds_take_the_mean_by_steps_and_hand_it_to_the_rule() -> None:
    rule = RULES["outer"](Shares((BATCH,), 0), VALUES, outer_momentum=0.5, outer_rate=1.0, outer_nesterov=False)
    merging = Rounds(first(), rule)
    momentum, centre = np.zeros(VALUES), np.ones(VALUES)
    random = np.random.RandomState(0)
    for _ in range(3):
        changes = random.standard_normal((2, VALUES)).astype(np.float32)
        merging.add(changes[0].copy(), 3, 0)
        merging.add(changes[1].copy(), 1, 0)
        merging.close()
        momentum = 0.5 * momentum - (3 * changes[0] + changes[1]) / 4
        centre = centre - momentum
        assert merging.centre == pytest.approx(centre, abs=1e-5)


def test_who_comes_and_goes_when_is_read_or_refused() -> None:
    assert moments("5:8, 1:12.5") == {5: 8.0, 1: 12.5}
    assert moments(None) == {}
    for text in ("5", "5:", "a:1", "1:-2", "-1:2", "1:nan", "1:inf"):
        with pytest.raises(ProgramError, match="is no rank with seconds"):
            moments(text)
