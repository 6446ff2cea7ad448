"""Cases in which something happens to the harness itself."""

from __future__ import annotations

import re
import signal
import time

from tests.faults.cases import LEASE_SECONDS, STOP_SECONDS, Result, case, failed, succeeded
from tests.faults.rig import Rig, Running, wait_for

RESUMED_EPOCHS = 6


@case("SIGTERM to the harness")
def terminated(rig: Rig) -> Result:
    return _signalled(rig, signal.SIGTERM)


@case("terminal closed (SIGHUP)")
def hung_up(rig: Rig) -> Result:
    return _signalled(rig, signal.SIGHUP)


def _signalled(rig: Rig, number: int) -> Result:
    running = rig.launch(program=("--seconds", "300"))
    running.started()
    at = time.time()
    running.signal(number)
    status = running.end(STOP_SECONDS + 5)
    ended = time.time() - at
    left = running.wait_until_clean(STOP_SECONDS)
    outcome = f"exit status {status} after {ended:.1f} s"
    return Result(
        outcome, status == 130, None, max(ended, running.last_seen - at), left, running.rows_lost(), STOP_SECONDS
    )


@case("harness paused for 35 s: longer than a node may be silent, shorter than its lease")
def paused(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "50"))
    running.started()
    _pause(running, 35)
    result = succeeded(running, 120)
    said = re.search(r"the harness itself stood still for 3\d s", running.output) is not None
    outcome = f"{result.outcome} {'and says so' if said else 'but says nothing'}"
    return Result(outcome, result.as_promised and said, None, None, result.left, result.lost, result.limit)


@case("harness paused for longer than its lease, another takes the nodes")
def paused_and_lost(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "300"))
    running.started()
    running.signal(signal.SIGSTOP)
    began = time.time()
    try:
        other = _take_over(rig, began + LEASE_SECONDS + 30)
    finally:
        running.signal(signal.SIGCONT)
    at = time.time()
    status = running.end(40)
    detected = time.time() - at
    result = succeeded(other, 120)
    told = "and lost its hold" in running.output
    said = "says that it lost its hold" if told else running.output[-200:]
    outcome = f"exit status {status}, {said}; the other {result.outcome}"
    promised = status == 1 and told and result.as_promised
    return Result(outcome, promised, detected, None, result.left, result.lost, 40)


def _take_over(rig: Rig, until: float) -> Running:
    """Another harness, started until it gets the nodes."""
    while True:
        other = rig.launch(program=("--seconds", "25"))
        try:
            other.started()
        except RuntimeError:
            if time.time() > until:
                raise
            time.sleep(2)
        else:
            return other


def _pause(running: Running, seconds: float) -> None:
    running.signal(signal.SIGSTOP)
    time.sleep(seconds)
    running.signal(signal.SIGCONT)


@case("kill -9 of the harness in training, sweep resumed (MXNet)")
def killed_and_resumed(rig: Rig) -> Result:
    first = rig.train(epochs=RESUMED_EPOCHS)
    first.trained()
    first.signal(signal.SIGKILL)
    directory = first.directory
    left = first.wait_until_clean(LEASE_SECONDS)
    second = rig.train("--resume", str(directory), epochs=RESUMED_EPOCHS)
    status = second.end(240)
    lost = first.epochs_lost(RESUMED_EPOCHS)
    outcome = "ok, every row once" if status == 0 and not lost else f"status {status}: {second.output[-200:]}"
    return Result(outcome, status == 0, None, None, left + second.wait_until_clean(STOP_SECONDS), lost, 240)


@case("two harnesses at once")
def two_at_once(rig: Rig) -> Result:
    first = rig.launch(program=("--seconds", "25"))
    first.started()
    at = time.time()
    second = rig.launch()
    status = second.end(60)
    refused = time.time() - at
    result = succeeded(first, 60)
    told = status == 2 and "is held by run" in second.said
    outcome = f"the second: {second.error[:80]}; the first {result.outcome}"
    return Result(outcome, told and result.as_promised, refused, None, result.left, result.lost, 30)


@case("clean while a harness holds the nodes")
def clean_refused(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "30"))
    running.started()
    cleaning = rig.harness("clean", "-i", str(rig.inventory))
    status = cleaning.end(60)
    result = succeeded(running, 90)
    told = status == 3 and "is held by run" in cleaning.said
    outcome = f"{'refused' if told else f'status {status}: {cleaning.said[-200:]}'}; {result.outcome}"
    return Result(outcome, told and result.as_promised, None, None, result.left, result.lost, 90)


@case("clean --force under a running harness")
def clean_forced(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "300"))
    running.started()
    at = time.time()
    cleaning = rig.harness("clean", "--force", "-i", str(rig.inventory))
    cleaned = cleaning.end(60)
    status = running.end(60)
    left = running.wait_until_clean(STOP_SECONDS)
    outcome = f"clean {cleaned}, launch {status}: {running.failure()}"
    promised = cleaned == 0 and status == 1
    return Result(outcome, promised, None, running.last_seen - at, left, 0, 30)


@case("the agent that follows a node's ranks is killed")
def killed_agent(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "12"))
    running.started()
    rig.inside(rig.nodes[1], "pkill", "-KILL", "-f", "agent run$")
    wait_for(lambda: "connected again" in running.output, 20, "the connection")
    return succeeded(running, 60, "connected again")


@case("the agent that follows a node's ranks hangs for 20 s (SIGSTOP)")
def hung_agent(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "40"))
    running.started()
    rig.inside(rig.nodes[1], "pkill", "-STOP", "-f", "agent run$")
    time.sleep(20)
    rig.inside(rig.nodes[1], "pkill", "-CONT", "-f", "agent run$")
    noticed = "connected again" in running.output
    result = succeeded(running, 90, "connected again" if noticed else "")
    return Result(result.outcome, result.as_promised and noticed, None, None, result.left, result.lost, result.limit)


@case("kill -9 of a rank's keeper")
def killed_keeper(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "300"))
    running.started()
    at = time.time()
    rig.signal_keeper(rig.rank("worker", "1"), signal.SIGKILL)
    return failed(running, at, "worker1 on node02: vanished: its keeper ended without a word", STOP_SECONDS)


@case("a rank's keeper hangs (SIGSTOP) and its harness is killed")
def hung_keeper(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "300"))
    running.started()
    at = time.time()
    rig.signal_keeper(rig.rank("worker", "1"), signal.SIGSTOP)
    running.signal(signal.SIGKILL)
    left = running.wait_until_clean(LEASE_SECONDS)
    outcome = "ranks left" if left else "ranks ended with their lease, the watchdog's too"
    return Result(outcome, not left, None, running.last_seen - at, left, 0, LEASE_SECONDS)


@case("all workers killed at once")
def killed_all(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "300"))
    running.started()
    at = time.time()
    for number in range(len(rig.nodes)):
        rig.signal_rank("worker", str(number), signal.SIGKILL)
    return failed(running, at, "was killed by SIGKILL", STOP_SECONDS)
