"""The library that makes threads compute at one speed, on this machine: real programs, real waits, real load.

A machine that is too busy is no reason to fail: either the speed is what it should be, or the library says that it was not.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from harness.contract import wire
from harness.paths import REPOSITORY
from harness.system.commands import find
from harness.virtual.cpu import library
from tests.bench.one_speed import spinning

sys.path.insert(0, str(REPOSITORY / "experiments"))
from agent.virtual import cpu

pytestmark = [
    pytest.mark.skipif(find("cc") is None, reason="no C compiler: apt-get install gcc libc6-dev"),
    pytest.mark.timeout(120),
]
FACTOR = 12.0
TOLERANCE = 0.1
BEHIND = 0.03
PROGRAM = """
import json, os, queue, socket, sys, threading, time

def work(count=40000):
    total = 0
    for number in range(count):
        total += number * number
    return total

def laps(count, wait, size=40000):
    rows = []
    for _ in range(count):
        wall, own = time.perf_counter(), time.thread_time()
        work(size)
        own = time.thread_time() - own
        rows.append((time.perf_counter() - wall) / own)
        if wait:
            time.sleep(wait)
    return rows
"""


def run(tmp_path: Path, program: str, factor: float = FACTOR) -> tuple[object, float | None]:
    """What the program prints as JSON, and the seconds that it fell behind, where the library saw it."""
    node = {"model": "stretched", "factor": factor, "library": str(library.ensure())}
    for path in tmp_path.glob("cpu-*"):
        path.unlink()
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM + program],
        env={**os.environ, **cpu.environment(tmp_path, {}, node)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    behind = cpu.counted(tmp_path, node)[wire.CPU_BEHIND]
    assert behind is None or isinstance(behind, float)
    return json.loads(done.stdout), behind


@pytest.mark.parametrize("beside", [0, 2])
def test_a_thread_computes_at_one_speed_whether_it_waited_or_not(tmp_path: Path, beside: int) -> None:
    with spinning(beside):
        found, behind = run(
            tmp_path,
            "began = time.perf_counter()\n"
            "rows = [laps(15, wait) for wait in (0, 0.04, 0.004)]\n"
            "print(json.dumps([*rows, time.perf_counter() - began]))",
        )
    *rows, lasted = found  # type: ignore[misc]
    speeds = [statistics.median(row) for row in rows]
    assert behind is not None
    held = all(abs(speed / FACTOR - 1) < TOLERANCE for speed in speeds)
    assert held or behind > BEHIND * lasted, (speeds, behind, lasted)


def test_without_a_factor_nothing_is_slowed(tmp_path: Path) -> None:
    found, behind = run(tmp_path, "print(json.dumps(min(laps(50, 0, 2000))))", factor=1.0)
    assert float(str(found)) < 2
    assert behind is None


def test_who_waits_for_another_thread_gets_its_result_at_that_threads_speed(tmp_path: Path) -> None:
    program = """
asked, answered = queue.Queue(), queue.Queue()
def serve():
    while asked.get():
        own = time.thread_time()
        work()
        answered.put(time.thread_time() - own)
threading.Thread(target=serve, daemon=True).start()
rows = []
for _ in range(10):
    wall = time.perf_counter()
    asked.put(1)
    own = answered.get()
    rows.append((time.perf_counter() - wall) / own)
print(json.dumps(sorted(rows)[len(rows) // 2]))
"""
    found, behind = run(tmp_path, program)
    assert behind is not None
    assert float(str(found)) > FACTOR * (1 - TOLERANCE)


def test_a_message_leaves_when_the_slow_processor_would_have_sent_it(tmp_path: Path) -> None:
    program = """
ours, theirs = socket.socketpair()
if os.fork() == 0:
    for _ in range(8):
        ours.recv(1)
        own = time.thread_time()
        work()
        ours.sendall(json.dumps(time.thread_time() - own).encode())
    os._exit(0)
rows = []
for _ in range(8):
    wall = time.perf_counter()
    theirs.sendall(b"x")
    own = json.loads(theirs.recv(100))
    rows.append((time.perf_counter() - wall) / own)
os.wait()
print(json.dumps(sorted(rows)[len(rows) // 2]))
"""
    found, _ = run(tmp_path, program)
    assert float(str(found)) > FACTOR * (1 - TOLERANCE)
    assert len(list(tmp_path.glob("cpu-*"))) == 2  # the child has counters of its own


def test_a_program_that_starts_others_is_not_confused_by_their_clocks(tmp_path: Path) -> None:
    program = """
import subprocess
work()
began = time.perf_counter()
for _ in range(5):
    subprocess.run(["true"], check=True)
print(json.dumps(time.perf_counter() - began))
"""
    found, _ = run(tmp_path, program)
    assert float(str(found)) < 20


def test_waiting_is_not_stretched(tmp_path: Path) -> None:
    found, _ = run(tmp_path, "w = time.monotonic(); time.sleep(0.5); print(json.dumps(time.monotonic() - w))")
    assert 0.5 <= float(str(found)) < 0.7


def test_threads_that_end_leave_no_descriptor(tmp_path: Path) -> None:
    program = """
def once():
    thread = threading.Thread(target=work, args=(10,))
    thread.start()
    thread.join()
def descriptors():
    while len(os.listdir("/proc/self/task")) > 1:  # join returns a moment before the thread has ended
        time.sleep(0.001)
    return len(os.listdir("/proc/self/fd"))
once()
before = descriptors()
for _ in range(20):
    once()
print(json.dumps(descriptors() - before))
"""
    found, _ = run(tmp_path, program)
    assert found == 0


def test_who_is_to_say_that_it_is_ready_computes_at_full_speed_until_then(tmp_path: Path) -> None:
    program = """
import subprocess
work(5)
other = subprocess.Popen([sys.executable, "-I", "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
before = min(laps(20, 0))
print(json.dumps({"event": "ready"}), flush=True)
after = sorted(laps(20, 0))[10]
child = json.loads(other.communicate("go")[0])
print(json.dumps([before, after, child]))
"""
    child = PROGRAM + "sys.stdin.read()\nprint(json.dumps(sorted(laps(10, 0))[5]))"
    node = {"model": "stretched", "factor": FACTOR, "library": str(library.ensure())}
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM + program, child],
        env={**os.environ, **cpu.environment(tmp_path, {}, node, says_ready=True)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    said, found = map(json.loads, done.stdout.splitlines())
    assert said == {"event": "ready"}
    before, after, child_after = found
    assert before < 2
    assert after > FACTOR * (1 - TOLERANCE)
    assert child_after > FACTOR * (1 - TOLERANCE)  # who was started before is held back too
    assert cpu.counted(tmp_path, node)[wire.CPU_MODEL] == "stretched"
