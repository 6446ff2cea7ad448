"""What a failure says: bounded, and of the process that failed."""

from __future__ import annotations

import queue
from pathlib import Path

import pytest
from launch_parts import NODES, exit_state, placement
from recorded_trial import recorded

from harness.contract.events import Event
from harness.launch.follow import Message
from harness.launch.limits import Limits
from harness.launch.watch import LAST_LINES, LONGEST_LINE, Watch


def watched() -> Watch:
    return Watch(placement("true"), Limits(), True, 0.0)


def test_the_last_lines_are_few_and_short() -> None:
    watch = watched()
    for number in range(100):
        watch.take_log("worker0", f"{number} " + "x" * 100_000)
    watch.take_exit("worker0", exit_state(code=1), 1.0)
    failure = watch.failure(1.0)
    assert failure is not None
    assert len(failure.last_lines) == LAST_LINES
    assert {len(line) for line in failure.last_lines} == {LONGEST_LINE}
    assert failure.last_lines[-1].startswith("99 ")


def test_who_takes_a_place_is_not_blamed_with_the_words_of_who_had_it() -> None:
    watch = watched()
    watch.take_event("worker1", Event("error", {"message": "the first one's trouble"}))
    watch.take_exit("worker1", exit_state(code=1), 1.0)
    assert "the first one's trouble" in str(watch.failure(1.0))
    watch.take_successor("worker1", 2.0)
    assert watch.failure(2.0) is None
    watch.take_exit("worker1", exit_state(signal=9), 3.0)
    assert str(watch.failure(3.0)) == "worker1 on b: was killed by SIGKILL"


@pytest.mark.parametrize(
    ("stopped", "said"), [([], False), (["worker0"], True), (["server0"], True), (["other"], False)]
)
def test_only_a_rank_that_was_stopped_is_said_to_be(tmp_path: Path, stopped: list[str], said: bool) -> None:
    inbox: queue.Queue[Message] = queue.Queue()
    with recorded(tmp_path, inbox) as made:
        watch = made.running.watch
        for name in ("worker0", "worker1"):
            watch.take_event(name, Event("ready", {"rank": 0}))
        followed = frozenset(watch.ranks)
        inbox.put(Message(NODES[0], {"frame": "beat", "stopped": stopped}, followed=followed))
        assert made.running.take_one(0)
        failure = watch.failure(1e9)
    assert failure is not None
    assert ("is stopped (SIGSTOP)" in failure.how) == said
