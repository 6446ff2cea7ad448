"""Cases in which a program does what no program should."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.cases import STOP_SECONDS, Result, case, failed, succeeded
from tests.faults.rig import Rig, Running

OWN = Path(__file__).parent / "programs"
OUTPUT_LIMIT = "it had printed more than 1024 MiB"


def _troubled(rig: Rig, trouble: str, words: str, limit: float = STOP_SECONDS, *options: str) -> Result:
    """Worker 1 makes this trouble; the job must fail with these words."""
    running = rig.launch(*options, program=("--seconds", "300", "--trouble", trouble))
    rig.rank("worker", "1")
    return failed(running, time.time(), words, limit)


@case("a rank exits with status 3")
def exits(rig: Rig) -> Result:
    return _troubled(rig, "exit", "worker1 on node02: exited with status 3")


@case("segmentation fault")
def crashes(rig: Rig) -> Result:
    return _troubled(rig, "segfault", "worker1 on node02: was killed by SIGSEGV")


@case("a chain of forks", short=True)
def fork_chain(rig: Rig) -> Result:
    return _troubled(rig, "forks", "worker1 on node02: exited with status 4", 20)


@case("a daemon that leaves its session and is deaf to SIGTERM")
def daemon(rig: Rig) -> Result:
    return _troubled(rig, "daemon", "worker1 on node02: exited with status 5", 20)


@case("a rank does not end by its time limit")
def over_time(rig: Rig) -> Result:
    running = rig.launch("--time-limit", "8", program=("--seconds", "300"))
    running.started()
    status = running.end(40)
    left = running.wait_until_clean(STOP_SECONDS)
    failure = running.failure()
    promised = status == 1 and "time limit" in failure
    return Result(failure, promised, None, None, left, running.rows_lost(), 40)


@case("a rank prints more than a node keeps", long=True)
def prints_too_much(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "300", "--trouble", "endless"))
    rig.rank("worker", "1")
    at = time.time()
    status = running.end(400)
    left = running.wait_until_clean(STOP_SECONDS)
    log = next(running.directory.glob("trials/*/worker1.log"))
    with log.open("rb") as file:
        file.seek(-(1 << 20), 2)
        said = OUTPUT_LIMIT in file.read().decode(errors="replace")
    failure = running.failure()
    promised = status == 1 and OUTPUT_LIMIT in failure and said and log.stat().st_size < 2 << 30
    log.unlink()
    return Result(failure, promised, time.time() - at, None, left, 0, 400)


@case("64 MB of output without an end of line")
def endless_line(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "3", "--trouble", "line"))
    result = succeeded(running, 120)
    log = next(running.directory.glob("trials/*/worker1.log"))
    whole = log.read_bytes().count(b"u") >= 64_000_000
    return Result(result.outcome, result.as_promised and whole, None, None, result.left, result.lost, result.limit)


@case("a server that hangs once the workers are done")
def hanging_server(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "3", "--trouble", "hang"))
    result = succeeded(running, 60)
    told = "did not end by itself and was stopped" in (running.directory / "trials" / "job" / "trial.json").read_text()
    return Result(result.outcome, result.as_promised and told, None, None, result.left, result.lost, result.limit)


def _own(rig: Rig, how: str, *options: str) -> Running:
    """A sweep of a program of one's own that prints events, and misbehaves like this."""
    directory = rig.results / f"own-{time.time_ns()}"
    shutil.copytree(OWN / "own", directory)
    return rig.harness(
        "sweep", str(directory / "own.yaml"), "-i", str(rig.inventory), "-o", str(rig.results), "-n", str(len(rig.nodes)), "-q",
        "--set", f"how={how}", *options,
    )  # fmt: skip


def _row(running: Running, status: int, limit: float, held: Callable[[], bool]) -> Result:
    """A sweep must end with this exit status within `limit` seconds, and what it left must hold."""
    ended = running.end(limit)
    left = running.wait_until_clean(STOP_SECONDS)
    row = running.rows("trials.csv")[0]
    outcome = f"{row['status']}, attempts {row['attempts']} {row['failure']}"
    return Result(outcome, ended == status and held(), None, None, left, 0, limit)


@case("a program refuses its arguments, with retries and repeats", short=True)
def refuses(rig: Rig) -> Result:
    running = _own(rig, "refuse", "--retries", "2", "--repeats", "2")

    def held() -> bool:
        rows = running.rows("trials.csv")
        return len(rows) == 1 and rows[0]["attempts"] == "1" and "is left out" not in running.output

    return _row(running, 1, 90, held)


@case("event numbers near 1.7e308", short=True)
def huge_numbers(rig: Rig) -> Result:
    running = _own(rig, "huge")

    def held() -> bool:
        return len(running.rows("epochs.csv")) == 2 * len(rig.nodes) and running.rows("trials.csv")[0]["images"] == ""

    return _row(running, 0, 60, held)


@case("epochs printed twice")
def doubled(rig: Rig) -> Result:
    running = _own(rig, "double")

    def held() -> bool:
        suspect = running.rows("trials.csv")[0]["status"] == "suspect"
        return suspect and len(running.rows("epochs.csv")) == 2 * len(rig.nodes)

    return _row(running, 0, 60, held)


@case("a program that never says that it is ready")
def never_ready(rig: Rig) -> Result:
    running = _own(rig, "silent", "--start-timeout", "10")
    return _row(running, 1, 60, lambda: "did not get ready within 10 s" in running.failure())


@case("a program that falls silent after ready")
def falls_silent(rig: Rig) -> Result:
    running = _own(rig, "stall", "--stall-timeout", "8")
    return _row(running, 1, 60, lambda: "no progress for 8 s" in running.failure())


@case("a rank removes its own directory")
def removes_itself(rig: Rig) -> Result:
    running = _own(rig, "remove")
    return _row(running, 1, 60, lambda: "vanished: its directory was removed" in running.failure())
