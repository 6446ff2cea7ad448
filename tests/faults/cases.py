"""The cases: each does one thing to a running job and says what must come of it.

A case returns its Result; times are seconds. `detect` counts from the fault to the moment the launcher knew, `clean` from
there to the last moment any rank was alive on any node.
"""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.launch.launcher import Limits
from harness.paths import REPOSITORY
from harness.virtual import cluster
from harness.virtual.host import network
from tests.faults.rig import Rig, Running, kill, wait_for

# A stop asks first and kills two seconds later; the first second goes to finding who failed first.
STOP_SECONDS = 10.0
LOST_SECONDS = Limits.outage + 5
LEASE_SECONDS = Limits.lease + 10
FLOOD_BYTES = 100_000_000
MANY = 200
MANY_SECONDS = 15
ALLOWED = {"MB": 20}
"""Python's memory is not given back at once."""
GOES_ON_EPOCHS = 12
GOES_ON_SECONDS = 180.0
AFTER_THE_KILL = ("2", "3", "4")


@dataclass(frozen=True)
class Result:
    """What came of a case."""

    outcome: str
    as_promised: bool
    detect: float | None
    clean: float | None
    left: int
    lost: int
    limit: float

    @property
    def held(self) -> bool:
        """Whether everything is as promised, in time."""
        slow = [seconds for seconds in (self.detect, self.clean) if seconds is not None and seconds > self.limit]
        return self.as_promised and not slow and self.left == 0 and self.lost == 0


@dataclass(frozen=True)
class Case:
    """A fault; `short` ones are CI's, `long` ones are run only where they are asked for."""

    name: str
    run: Callable[[Rig], Result]
    short: bool = False
    long: bool = False


CASES: list[Case] = []


def case(
    name: str, short: bool = False, long: bool = False
) -> Callable[[Callable[[Rig], Result]], Callable[[Rig], Result]]:
    """Put a function into the matrix."""

    def add(function: Callable[[Rig], Result]) -> Callable[[Rig], Result]:
        CASES.append(Case(name, function, short, long))
        return function

    return add


def failed(running: Running, fault_at: float, words: str, limit: float, cleaning: float = STOP_SECONDS) -> Result:
    """The job must fail, and say why in these words; `limit` is for detecting, `cleaning` for stopping."""
    status = running.end(limit + cleaning + 30)
    left = running.wait_until_clean(cleaning + 5)
    failure = running.failure()
    detected = running.detected_at() or time.time()
    clean = max(0.0, running.last_seen - detected)
    promised = status == 1 and words in failure and clean <= cleaning
    return Result(failure, promised, detected - fault_at, clean, left, running.rows_lost(), max(limit, cleaning))


def succeeded(running: Running, limit: float, note: str = "") -> Result:
    """The job must end well within `limit` seconds."""
    status = running.end(limit)
    left = running.wait_until_clean(STOP_SECONDS)
    outcome = "ok" if status == 0 else f"status {status}: {running.output[-300:]}"
    return Result(f"{outcome} {note}".strip(), status == 0, None, None, left, running.rows_lost(), limit)


@case("kill -9 of a worker (MXNet)", short=True)
def killed_worker(rig: Rig) -> Result:
    return killed_in_training(rig, "worker", "1", "worker1 on node02: was killed by SIGKILL")


@case("kill -9 of a server (MXNet)")
def killed_server(rig: Rig) -> Result:
    return killed_in_training(rig, "server", "0", "server")


@case("kill -9 of the scheduler (MXNet)")
def killed_scheduler(rig: Rig) -> Result:
    return killed_in_training(rig, "scheduler", "0", "scheduler0 on node01: was killed by SIGKILL")


def killed_in_training(rig: Rig, role: str, number: str, words: str, settings: tuple[str, ...] = ()) -> Result:
    """A rank of a training is killed; the trial must end with these words."""
    running = rig.train(*settings)
    running.trained()
    at = time.time()
    kill(rig.rank(role, number))
    return failed(running, at, words, 5)


@case("kill -9 of a worker in epoch 4, trial continued (MXNet)")
def continued(rig: Rig) -> Result:
    return goes_on(rig, ("--continue", "--retries", "1"), attempts="2", recovered="0", after=AFTER_THE_KILL)


@case("kill -9 of a worker in epoch 4, recovered in place (MXNet)", short=True)
def recovered(rig: Rig) -> Result:
    return goes_on(rig, ("--recover-workers", "1"), attempts="1", recovered="1", after=AFTER_THE_KILL)


@case("kill -9 of a worker in epoch 4, another takes its place (MXNet, dist_async)", short=True)
def replaced(rig: Rig) -> Result:
    options = ("--recover-workers", "1", "--set", "kvstore=dist_async")
    return goes_on(rig, options, attempts="1", recovered="1", after=("",))


def goes_on(rig: Rig, options: tuple[str, ...], attempts: str, recovered: str, after: tuple[str, ...]) -> Result:
    """The trial must end well, with every epoch's rows once, and say how; `after` are epochs it may have gone on from."""
    running = rig.train(*options, epochs=GOES_ON_EPOCHS)
    running.trained(epoch=3)
    kill(rig.rank("worker", "1"))
    result = succeeded(running, GOES_ON_SECONDS)
    row = running.rows("trials.csv")[0]
    told = (row["status"], row["attempts"], row["recovered"])
    held = result.as_promised and told == ("ok", attempts, recovered) and row["continued_from_epoch"] in after
    outcome = (
        f"{result.outcome}, attempts {told[1]}, recovered {told[2]}, after epoch {row['continued_from_epoch'] or '-'}"
    )
    return Result(outcome, held, None, None, result.left, running.epochs_lost(GOES_ON_EPOCHS), GOES_ON_SECONDS)


@case("kill -9 of the harness", short=True)
def killed_harness(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "300"))
    running.started()
    at = time.time()
    running.signal(signal.SIGKILL)
    left = running.wait_until_clean(LEASE_SECONDS)
    clean = running.last_seen - at
    outcome = "ranks ended with their lease" if not left else "ranks left"
    return Result(outcome, not left, None, clean, left, running.rows_lost(), LEASE_SECONDS)


@case("Ctrl-C", short=True)
def interrupted(rig: Rig) -> Result:
    return _interrupted(rig, times=1, clean=STOP_SECONDS)


@case("Ctrl-C twice")
def interrupted_twice(rig: Rig) -> Result:
    return _interrupted(rig, times=2, clean=LEASE_SECONDS)


def _interrupted(rig: Rig, times: int, clean: float) -> Result:
    running = rig.launch(program=("--seconds", "300"))
    running.started()
    at = time.time()
    for _ in range(times):
        running.signal(signal.SIGINT)
        time.sleep(0.1)
    status = running.end(clean + 5)
    ended = time.time() - at
    left = running.wait_until_clean(clean)
    promised = status == 130 and (times == 1 or ended < 2)
    outcome = f"exit status {status} after {ended:.1f} s"
    return Result(outcome, promised, None, max(ended, running.last_seen - at), left, running.rows_lost(), clean)


@case("out of memory", short=True)
def out_of_memory(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "300", "--trouble", "memory"))
    rig.rank("worker", "1")
    return failed(running, time.time(), "worker1 on node02: was killed: the node ran out of memory", 60)


@case("stall (SIGSTOP)", short=True)
def stalled(rig: Rig) -> Result:
    running = rig.launch("--stall-timeout", "8", program=("--seconds", "300"))
    running.started()
    at = time.time()
    kill(rig.rank("worker", "2"), signal.SIGSTOP)
    return failed(running, at, "worker2 on node03: no progress for 8 s: its process is stopped", 10)


@case("node powered off")
def powered_off(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "300"))
    running.started()
    at = time.time()
    cluster.power_off(rig.name, rig.nodes[1])
    try:
        return failed(running, at, "node02: out of reach for more than 30 s", LOST_SECONDS)
    finally:
        cluster.power_on(rig.name, rig.nodes[1])
        rig.refresh()


@case("node rebooted", short=True)
def rebooted(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "300"))
    running.started()
    at = time.time()
    rig.reboot(rig.nodes[1])
    return failed(running, at, "vanished: its node was rebooted", LOST_SECONDS)


@case("link cut for 15 s and restored")
def link_restored(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "40"))
    running.started()
    with rig.cut(rig.nodes[2]):
        time.sleep(15)
    result = succeeded(running, 120)
    noticed = "connection lost" in running.output and "connected again" in running.output
    return Result(result.outcome, result.as_promised and noticed, None, None, result.left, result.lost, result.limit)


@case("link cut for longer than the limit")
def link_lost(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "300"))
    running.started()
    at = time.time()
    with rig.cut(rig.nodes[2]):
        return failed(running, at, "node03: out of reach for more than 30 s", LOST_SECONDS, LEASE_SECONDS)


@case("disk full on a node")
def node_disk_full(rig: Rig) -> Result:
    node = rig.nodes[1]
    rig.inside(node, "mkdir", "-p", "/opt/harness/trials")
    owner = rig.inside(node, "stat", "-c", "uid=%u,gid=%g", "/opt/harness").strip()
    rig.inside(node, "mount", "-t", "tmpfs", "-o", f"size=3m,{owner}", "tmpfs", "/opt/harness/trials")
    try:
        running = rig.launch(program=("--seconds", "300", "--trouble", "fill"))
        rig.rank("worker", "1")
        return failed(running, time.time(), "its node's disk is full", 20)
    finally:
        rig.inside(node, "umount", "--lazy", "/opt/harness/trials")


@case("disk full on the controller")
def controller_disk_full(rig: Rig) -> Result:
    full = Path(tempfile.mkdtemp(dir=rig.results))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(full)], check=True)
    try:
        running = rig.harness(
            "launch", "-n", "4", "-s", "0", "-q", "-i", str(rig.inventory), "-o", str(full), "--",
            "python", str(Path(__file__).parent / "programs" / "work.py"), "--seconds", "300", "--trouble", "flood",
        )  # fmt: skip
        rig.rank("worker", "1")
        at = time.time()
        status = running.end(60)
        ended = time.time() - at
        left = running.wait_until_clean(STOP_SECONDS)
        promised = status == 1 and "cannot write" in running.said and "No space left" in running.said
        return Result(running.error, promised, None, max(ended, running.last_seen - at), left, 0, 30)
    finally:
        subprocess.run(["umount", "--lazy", str(full)], check=False)


@case("clock 1 h off (of the agent: virtual nodes share one clock)")
def clock_off(rig: Rig) -> Result:
    node = rig.nodes[1]
    wrapper = "/opt/harness/late-python"
    script = (
        "#!/usr/bin/python3\n"
        "import os, sys\n"
        "if 'keep' in sys.argv: os.execv('/usr/bin/python3', ['python3', *sys.argv[1:]])\n"
        "import runpy, time\n"
        "now = time.time\n"
        "time.time = lambda: now() - 3600\n"
        "sys.argv = sys.argv[3:]\n"
        "if sys.argv[0] == '-c': exec(sys.argv.pop(1), {'__name__': '__main__'})\n"  # the agent, handed over by a line
        "else: runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    encoded = base64.b64encode(script.encode()).decode()
    rig.inside(node, "sh", "-c", f"echo {encoded} | base64 -d > {wrapper} && chmod 755 {wrapper}")
    inventory = rig.with_node(node, ansible_python_interpreter=wrapper)
    checked = rig.harness("check", "-i", str(inventory))
    checked.end(120)
    # The bound that is sure: the node's answer may have been on its way for a while.
    told = re.search(r"clock is off by 3[56]\d\d", checked.output) is not None
    result = succeeded(rig.launch(program=("--seconds", "3"), inventory=inventory), 60, "check says so" if told else "")
    return Result(result.outcome, result.as_promised and told, None, None, result.left, result.lost, result.limit)


@case("wrong host key", short=True)
def wrong_host_key(rig: Rig) -> Result:
    inventory = rig.with_node(rig.nodes[1], cluster_known_hosts="known_hosts")
    pinned = inventory.with_name("known_hosts")
    lines = pinned.read_text(encoding="utf-8").splitlines()
    words = [line.split() for line in lines]
    words[1][1:] = words[2][1:]
    pinned.write_text("".join(" ".join(line) + "\n" for line in words), encoding="utf-8")
    running = rig.launch(inventory=inventory)
    status = running.end(60)
    left = running.wait_until_clean(1)
    promised = status == 2 and "is not the pinned one" in running.said
    return Result(running.error[:120], promised, time.time() - running.began, None, left, 0, 30)


@case("sshd restarted, its sessions killed", short=True)
def sshd_restarted(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "12"))
    running.started()
    rig.inside(rig.nodes[1], "systemctl", "restart", "ssh")
    rig.inside(rig.nodes[1], "pkill", "-KILL", "-f", "^sshd: pi")
    wait_for(lambda: "connected again" in running.output, 20, "the connection")
    return succeeded(running, 60, "connected again")


@case("slow node (a tenth of a core)")
def slow_node(rig: Rig) -> Result:
    cluster.set_quota(rig.name, rig.nodes[1], 0.1)
    try:
        return succeeded(rig.launch(program=("--seconds", "5")), 120)
    finally:
        cluster.set_quota(rig.name, rig.nodes[1], None)


@case("event lines torn or not JSON", short=True)
def torn_events(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "3", "--trouble", "torn"))
    return succeeded(running, 60)


@case("100 MB of log from one rank")
def flood(rig: Rig) -> Result:
    running = rig.launch(program=("--seconds", "3", "--trouble", "flood"))
    result = succeeded(running, 180)
    log = next(running.directory.glob("trials/*/worker1.log"))
    whole = log.read_bytes().count(b"l" * 99 + b"\n") * 100 == FLOOD_BYTES
    outcome = f"{result.outcome}, {log.stat().st_size / 1e6:.0f} MB kept"
    return Result(outcome, result.as_promised and whole, None, None, result.left, result.lost, result.limit)


@case("200 trials of a 2 s program in a row", long=True)
def many_trials(rig: Rig) -> Result:
    return _in_a_row(rig, MANY, every=0)


@case("100 trials in a row, a random fault in every tenth", long=True)
def many_faults(rig: Rig) -> Result:
    return _in_a_row(rig, MANY // 2, every=10)


def _in_a_row(rig: Rig, trials: int, every: int) -> Result:
    """Nothing may pile up, and no trial end otherwise than its fault has it."""
    before = _left_behind(rig)
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.repeat", str(rig.inventory), str(trials), str(every)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False, timeout=trials * MANY_SECONDS,
    )  # fmt: skip
    said = json.loads(done.stdout)
    time.sleep(2)
    after = _left_behind(rig)
    grown = {key: said["after"][key] - said["before"][key] for key in said["after"]}
    grown |= {key: after[key] - before[key] for key in after}
    more = ", ".join(f"{count:+d} {what}" for what, count in grown.items())
    faults = f", {sum(said['faults'].values())} faults" if every else ""
    outcome = f"{said['seconds']:.1f} s a trial, {said['failures']} failed{faults}; {more}"
    piled_up = [what for what, count in grown.items() if count > ALLOWED.get(what, 0)]
    promised = said["failures"] == 0 and not piled_up
    return Result(outcome, promised, None, None, len(rig.ranks()), 0, trials * MANY_SECONDS)


def _left_behind(rig: Rig) -> dict[str, int]:
    """What the cluster's nodes have."""
    found = [rig.inside(node, "find", "/opt/harness/trials", "-mindepth", "2").splitlines() for node in rig.nodes]
    return {
        "processes on nodes": rig.processes(),
        "namespaces": len(network.namespaces_of(rig.name)),
        "files of trials": sum(map(len, found)),
    }
