"""Which failure a trial has, and whose it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from launch_parts import NODES, exit_state, placement, trial

from harness.contract.events import Event
from harness.contract.json_line import Json
from harness.experiment.program import Role
from harness.launch.frameworks import FRAMEWORKS
from harness.launch.limits import Limits
from harness.launch.placement import RolePlacement, place
from harness.launch.watch import Watch, describe_exit

LIMITS = Limits(start=10, stall=5, time=100)


@pytest.fixture
def watch() -> Watch:
    return Watch(placement(), LIMITS, expects_events=True, now=0.0)


def all_ready(watch: Watch, now: float = 1.0) -> None:
    for name in watch.finishing:
        watch.take_output(name, now)
        watch.take_event(name, Event("ready", {"rank": 0}))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (exit_state(), ""),
        (exit_state(code=3), "exited with status 3"),
        (exit_state(code=1, disk_free_bytes=0), "exited with status 1 (its node's disk is full: 0 bytes free)"),
        (exit_state(signal=9), "was killed by SIGKILL"),
        (exit_state(signal=99), "was killed by signal 99"),
        (exit_state(signal=9, out_of_memory=True), "was killed: the node ran out of memory"),
        (exit_state(reason="stopped"), "was stopped"),
        (exit_state(reason="start", message="no such file"), "could not be started: no such file"),
        (exit_state(reason="lost", message="its node was rebooted"), "vanished: its node was rebooted"),
        (
            exit_state(reason="lease", signal=15),
            "was ended by its node: the harness was out of reach for longer than the lease",
        ),
    ],
)
def test_how_a_rank_ended(state: Json, words: str) -> None:
    assert describe_exit(state) == words


def test_the_first_to_fail_is_blamed_whatever_came_first(watch: Watch) -> None:
    watch.take_log("worker1", "Traceback")
    watch.take_exit("worker0", exit_state(signal=6, seconds_ago=0.5), now=20.0)
    watch.take_exit("worker1", exit_state(code=1, seconds_ago=3.0), now=20.2)
    failure = watch.failure(20.3)
    assert failure is not None
    assert str(failure) == "worker1 on b: exited with status 1"
    assert failure.last_lines == ("Traceback",)


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        ({"signal": 9}, True),
        ({"code": 1}, True),
        ({"reason": "time_limit", "signal": 15}, False),
        ({"reason": "lost", "message": "its node was rebooted"}, False),
        ({"reason": "start", "message": "no such file"}, False),
    ],
)
def test_only_a_process_that_ended_by_itself_can_be_recovered(watch: Watch, state: Json, ended: bool) -> None:
    watch.take_exit("worker1", exit_state(**state), now=20.0)
    failure = watch.failure(20.3)
    assert failure is not None
    assert failure.ended == ended


def test_what_the_program_said_is_told(watch: Watch) -> None:
    watch.take_event("worker0", Event("error", {"message": "no data"}))
    watch.take_exit("worker0", exit_state(code=2), now=1.0)
    assert str(watch.failure(1.0)) == "worker0 on a: exited with status 2: no data"


def test_a_server_that_dies_ends_the_trial_but_not_once_the_workers_are_done(watch: Watch) -> None:
    watch.take_exit("server0", exit_state(code=1), now=2.0)
    assert str(watch.failure(2.0)) == "server0 on a: exited with status 1"
    for name in watch.finishing:
        watch.take_exit(name, exit_state(), now=3.0)
    assert watch.failure(3.0) is None


def test_a_worker_that_never_starts(watch: Watch) -> None:
    watch.take_event("worker0", Event("ready", {"rank": 0}))
    watch.take_output("worker0", 9.0)
    assert watch.failure(9.0) is None
    assert "worker1 on b: did not get ready within 10 s" in str(watch.failure(11.0))


def test_silence(watch: Watch) -> None:
    all_ready(watch)
    watch.take_output("worker1", 4.0)
    assert watch.failure(5.0) is None
    assert "worker0 on a: no progress for 5 s" in str(watch.failure(6.5))


def test_the_stopped_one_is_blamed_for_the_silence_of_all(watch: Watch) -> None:
    all_ready(watch)
    watch.take_stopped(["server0", "worker0"], ["server0"])
    watch.take_stopped(["worker1"], [])  # of another follower, perhaps of the same node
    assert str(watch.failure(7.0)) == "server0 on a: no progress for 5 s: its process is stopped (SIGSTOP)"


def test_who_was_stopped_and_then_continued_or_replaced_is_not_blamed(watch: Watch) -> None:
    all_ready(watch)
    watch.take_stopped(["server0", "worker0"], ["server0", "worker0"])
    watch.take_stopped(["server0", "worker0"], ["worker0"])
    watch.take_exit("worker0", exit_state(signal=9), now=2.0)
    watch.take_successor("worker0", 2.0)
    all_ready(watch, 3.0)
    assert str(watch.failure(9.0)) == "worker0 on a: no progress for 5 s"


def test_a_program_without_events_is_not_asked_for_them() -> None:
    watch = Watch(placement(), Limits(start=1, stall=None), expects_events=False, now=0.0)
    assert watch.failure(1000.0) is None


def test_a_lost_node_matters_while_it_has_workers(watch: Watch) -> None:
    watch.take_lost("a", "out of reach")
    assert str(watch.failure(1.0)) == "a: out of reach"
    for name in watch.finishing:
        watch.take_exit(name, exit_state(), now=3.0)
    assert watch.failure(3.0) is None


def test_the_time_limit(watch: Watch) -> None:
    all_ready(watch)
    for name in watch.finishing:
        watch.take_output(name, 100.0)
    assert "time limit of 100 s" in str(watch.failure(101.0))


def watch_of(ends: str = "finishes", **role: Any) -> Watch:
    """Three nodes, a worker on each, of which some may be lost."""
    declared = Role(ends=ends, **role)
    roles = [RolePlacement("worker", declared, NODES), RolePlacement("driver", Role(), NODES[:1])]
    made = place(
        trial(3), roles if ends == "serves" else roles[:1], framework=FRAMEWORKS["plain"], port=1,
        command=lambda _: ("true",), environment={}, token="",
    )  # fmt: skip
    return Watch(made, LIMITS, expects_events=False, now=0.0)


@pytest.mark.parametrize("how", ["exit", "node"])
def test_ranks_that_may_die_do_not_end_the_trial(how: str) -> None:
    watch = watch_of(may_die=1)

    def lose(name: str, node: str) -> None:
        if how == "exit":
            watch.take_exit(name, exit_state(signal=9), now=1.0)
        else:
            watch.take_lost(node, "out of reach")

    lose("worker1", "b")
    assert watch.failure(1.0) is None
    watch.take_exit("worker0", exit_state(), now=2.0)
    assert not watch.finished
    watch.take_exit("worker2", exit_state(), now=2.0)
    assert watch.finished
    assert watch.failure(2.0) is None
    watch = watch_of(may_die=1)
    lose("worker1", "b")
    lose("worker2", "c")
    assert watch.failure(2.0) is not None


def test_it_is_known_who_died_without_ending_the_trial() -> None:
    watch = watch_of(may_die=2)
    watch.take_exit("worker1", exit_state(code=3), now=1.0)
    watch.take_lost("c", "out of reach")
    assert watch.losses() == {"worker1": "worker1 on b: exited with status 3", "worker2": "worker2 on c: out of reach"}
    serving = watch_of(may_die=1, ends="serves")
    serving.take_exit("driver0", exit_state(), now=1.0)
    serving.take_exit("worker1", exit_state(signal=9), now=2.0)
    assert serving.losses() == {}


def test_the_last_of_a_role_may_not_die() -> None:
    watch = watch_of(may_die=9)
    for number in range(3):
        watch.take_exit(f"worker{number}", exit_state(code=1), now=1.0)
    assert str(watch.failure(1.0)) == "worker0 on a: exited with status 1"


def test_the_trial_is_done_when_those_that_finish_have_ended() -> None:
    watch = watch_of(ends="serves")
    watch.take_exit("worker1", exit_state(), now=1.0)
    assert not watch.finished
    watch.take_exit("driver0", exit_state(), now=2.0)
    assert watch.finished
    assert watch.failure(2.0) is None


def test_a_rank_that_serves_says_that_it_is_ready_where_its_role_does() -> None:
    watch = Watch(placement(), LIMITS, expects_events=True, now=0.0)
    worker = watch.ranks["worker0"]
    assert watch.expects_ready(worker)
    assert not watch.expects_ready(replace(worker, declared=Role(ends="serves")))
    assert watch.expects_ready(replace(worker, declared=Role(ends="serves", says_ready=True)))


def test_one_that_may_join_at_any_time_is_not_missed(watch: Watch) -> None:
    late = Watch(placement(), LIMITS, expects_events=True, now=0.0)
    late.ranks = {name: replace(rank, declared=Role(joins="any")) for name, rank in late.ranks.items()}
    assert watch.failure(11.0) is not None
    assert late.failure(11.0) is None


def test_a_program_without_events_may_be_silent_unless_a_limit_is_given() -> None:
    assert Watch(placement(), Limits(), expects_events=False, now=0.0).failure(1e6) is None
    told = Watch(placement(), Limits(stall=5), expects_events=False, now=0.0).failure(6.0)
    assert "no progress for 5 s" in str(told)
    silent = Watch(placement(), Limits(), expects_events=True, now=0.0)
    all_ready(silent)
    assert "no progress for 120 s" in str(silent.failure(122.0))
