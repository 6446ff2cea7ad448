"""Who is blamed where several ranks fail at nearly the same time."""

from __future__ import annotations

from launch_parts import exit_state, placement

from harness.launch.limits import Limits
from harness.launch.watch import Watch


def blamed(**ended: tuple[float, int]) -> str:
    """Who is blamed where ranks end so many seconds ago with such codes, minus a signal's number."""
    watch = Watch(placement(), Limits(), expects_events=True, now=0.0)
    for name, (ago, code) in ended.items():
        watch.take_exit(name, exit_state(code=code, signal=-code if code < 0 else None, seconds_ago=ago), 10.0)
    failure = watch.failure(10.0)
    return failure.rank if failure else ""


def test_a_killed_server_is_blamed_although_all_workers_have_failed_since() -> None:
    assert blamed(worker0=(0.3, 1), worker1=(0.4, 1), server0=(0.5, -9)) == "server0"


def test_of_ranks_that_fail_at_once_the_killed_one_is_blamed() -> None:
    assert blamed(scheduler0=(0.500, -9), server0=(0.503, 1), worker0=(0.2, 1), worker1=(0.2, 1)) == "scheduler0"
    assert blamed(scheduler0=(0.5, -9), server0=(5.0, 1)) == "server0"


def test_how_a_server_ends_after_the_workers_is_no_matter() -> None:
    assert blamed(worker0=(2.0, 0), worker1=(2.0, 0), server0=(1.0, -9)) == ""
    assert blamed(worker0=(2.0, 0), worker1=(3.0, 0), server0=(5.0, 1)) == ""
