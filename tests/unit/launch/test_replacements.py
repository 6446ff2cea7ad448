"""Which workers may take a dead one's place."""

from __future__ import annotations

import pytest
from launch_parts import placement

from harness.contract.events import Event
from harness.launch.placement import Rank
from harness.launch.replacements import Replacements
from harness.launch.watch import Failure

WORKER = placement().with_role("worker")[1]
DIED = Failure("worker1", "b", "was killed by SIGKILL", ended=True)


def trained(replacements: Replacements, epochs: int, rank: Rank = WORKER) -> Replacements:
    replacements.event(rank.name, Event("ready", {"rank": 0, "replaceable": True}))
    for epoch in range(1, epochs + 1):
        replacements.event(rank.name, Event("epoch", {"rank": 0, "epoch": epoch}))
    return replacements


def test_a_newcomer_goes_on_after_the_dead_ones_last_epoch() -> None:
    successor = trained(Replacements(2), 3).successor(WORKER, DIED)
    assert successor is not None
    assert successor.environment["HARNESS_FOLLOWS_AFTER"] == "3"
    assert (successor.name, successor.node, successor.command) == (WORKER.name, WORKER.node, WORKER.command)


def test_one_that_died_in_its_first_epoch_is_followed_from_where_the_start_began() -> None:
    successor = trained(Replacements(1, finished=7), 0).successor(WORKER, DIED)
    assert successor is not None
    assert successor.environment["HARNESS_FOLLOWS_AFTER"] == "7"


def test_a_start_has_one_newcomer() -> None:
    replacements = trained(Replacements(5), 1)
    assert replacements.successor(WORKER, DIED)
    trained(replacements, 1)
    assert replacements.successor(WORKER, DIED) is None
    assert replacements.made == [DIED]


@pytest.mark.parametrize("why", ["forbidden", "silent", "unable", "done", "node"])
def test_nobody_follows(why: str) -> None:
    replacements = Replacements(0 if why == "forbidden" else 1)
    if why != "silent":
        trained(replacements, 1)
    if why == "unable":
        replacements = Replacements(1)
        replacements.event("worker1", Event("ready", {"rank": 0, "replaceable": False}))
    if why == "done":
        replacements.event("worker1", Event("done", {"rank": 0}))
    failure = Failure("worker1", "b", "out of reach") if why == "node" else DIED
    assert replacements.successor(WORKER, failure) is None


def test_heartbeats_are_for_all_and_the_users_own_setting_wins() -> None:
    told = {rank.name: Replacements.environment_of(rank, placement().framework) for rank in placement().ranks}
    assert all(values["PS_HEARTBEAT_TIMEOUT"] == "4" for values in told.values())
    assert {name for name, values in told.items() if "HARNESS_REPLACEABLE" in values} == {"worker0", "worker1"}
