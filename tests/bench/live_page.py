"""How far the live page is behind a run, and what it costs: the nodes, and the machine that serves it.

On nodes that are this machine. A client asks for the page's state as a browser does: a second after each answer. What a node's
agent and ranks take is compared between windows with a page that is open and windows without one.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.paths import REPOSITORY
from harness.virtual.cpu.boards import BOARDS
from harness.virtual.cpu.profile import measure_machine
from tests.bench.row import Row, at_most
from tests.bench.stage import BenchError, Stage, settings
from tests.helpers.local_nodes import write_inventory

NODES = 4
BEHIND_SECONDS, NODE_PERCENT = 2.0, 1.0
WINDOWS, WINDOW_SECONDS, QUICK_WINDOW_SECONDS = 4, 10.0, 3.0
"""Of each kind."""
_ASK_EVERY_SECONDS = 1.0
_BEGIN_SECONDS = 60.0
_EXPERIMENT = Path(__file__).parent / "programs" / "ticks.yaml"
_PI_CORE = BOARDS["pi3-slow"]
"""One core of a Raspberry Pi 3, by the slow end of the estimates."""
_END_SECONDS = 30.0
_TICK = re.compile(r"tick (\d+\.\d+)")


def measure(stage: Stage) -> Iterator[Row]:
    """Windows with the page and without it, in turns, of one run; everything it started is ended."""
    seconds = QUICK_WINDOW_SECONDS if stage.quick else WINDOW_SECONDS
    directory = stage.output / "live"
    directory.mkdir(exist_ok=True)
    hosts = {f"live-{number}": f"127.0.43.{number}" for number in range(1, NODES + 1)}
    inventory = write_inventory(directory / "hosts.json", directory / "nodes", hosts)
    whole = round(2 * WINDOWS * seconds + _BEGIN_SECONDS)
    words = ["-i", str(inventory), "-o", str(directory / "runs"), "--nodes", str(NODES), *settings(seconds=whole), "-q"]
    shutil.rmtree(directory / "runs", ignore_errors=True)
    with _harness(directory, "sweep", str(_EXPERIMENT), *words) as sweep:
        run = Path(_until(lambda: _all_tick(directory / "runs"), sweep, directory / "sweep.log"))
        with _harness(directory, "watch", str(run)) as watch:
            url = _until(lambda: _address(directory / "watch.log"), watch, directory / "watch.log")
            found = _windows(seconds, url, sweep.pid, watch.pid)
    core = measure_machine() / _PI_CORE.conv_gflops
    note = f"of one core of this machine, times {core:.1f}: the rate of one core here over that of a Pi 3"
    yield Row("live page: a line's age when it is first shown, at most", "s", found.behind, at_most(BEHIND_SECONDS))
    pi = [100 * core * (one - other) / NODES for one, other in zip(found.with_page, found.without, strict=True)]
    yield Row(
        "  a node's agent and rank with it open, less without", "% of a Pi's core", pi, at_most(NODE_PERCENT), note
    )
    rest = {"  the same without it": found.without, "  serving it, a node": found.server}
    for what, shares in rest.items():
        yield Row(what, "% of a Pi's core", [100 * core * share / NODES for share in shares])
    yield Row(f"  serving it, all {NODES} nodes", "% of a core here", [100 * share for share in found.server])


def _all_tick(runs: Path) -> str | None:
    """The run's directory, once every rank has said the time."""
    run = runs / "ticks" / "latest"
    logs = list(run.glob("trials/*/worker*.log"))
    ticking = [log for log in logs if _TICK.search(log.read_text(encoding="utf-8"))]
    return str(run.resolve()) if len(ticking) == NODES else None


def _address(log: Path) -> str | None:
    found = re.search(r"live page: (\S+)", log.read_text(encoding="utf-8"))
    return found[1] if found else None


@dataclass
class Windows:
    """Of each window a number: CPU seconds a second of all nodes with a page and without, of its server, and s behind."""

    with_page: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    behind: list[float] = field(default_factory=list)


def _windows(seconds: float, url: str, sweep: int, watch: int) -> Windows:
    """Windows without a page and with one, in turns."""
    found = Windows()
    for _ in range(WINDOWS):
        with _spent(_below(sweep), found.without):
            time.sleep(seconds)
        with _spent(_below(sweep), found.with_page), _spent([watch], found.server):
            found.behind.append(_look(url, seconds))
    return found


def _look(url: str, seconds: float) -> float:
    """Ask for the page's state as a browser does; how old, in s, a line can be at most when it is first shown.

    A line that is new was printed after the newest one of the answer before.
    """
    ends, newest, behind = time.monotonic() + seconds, dict[str, float](), 0.0
    while time.monotonic() < ends:
        with urllib.request.urlopen(f"{url}state.json", timeout=10) as answer:  # noqa: S310 - ours
            state = json.load(answer)
        now = time.time()
        for log in state["logs"]:
            ticks = [float(found[1]) for line in log["lines"] if (found := _TICK.match(line))]
            if not ticks:
                raise BenchError(f"{log['rank']} told no time: the trial is over, or has not begun")
            behind = max(behind, now - newest.get(log["rank"], now))
            newest[log["rank"]] = ticks[-1]
        time.sleep(_ASK_EVERY_SECONDS)
    return behind


@contextmanager
def _spent(processes: Sequence[int], into: list[float]) -> Iterator[None]:
    """Adds what these processes took of a core while the block lasted, in CPU seconds a second."""
    before, began = _cpu_seconds(processes), time.monotonic()
    yield
    into.append((_cpu_seconds(processes) - before) / (time.monotonic() - began))


def _cpu_seconds(processes: Sequence[int]) -> float:
    """Of all their threads, to the nanosecond (schedstat)."""
    total = 0
    for thread in (each for process in processes for each in Path(f"/proc/{process}/task").glob("*/schedstat")):
        with suppress(OSError):
            total += int(thread.read_text(encoding="ascii").split()[0])
    return total / 1e9


def _below(process: int) -> list[int]:
    """A process's children, theirs, and so on: agents and ranks of nodes that are this machine."""
    found: list[int] = []
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, file.read_text(encoding="ascii").split()):
            found += [child, *_below(child)]
    return found


@contextmanager
def _harness(directory: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A verb that goes on beside; its output is in a file of its name. It is ended after the block."""
    with (directory / f"{words[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *words], cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until(what: Callable[[], str | None], process: subprocess.Popen[bytes], log: Path) -> str:
    """What comes, within _BEGIN_SECONDS. Raises BenchError where it does not, or the process ends before."""
    ends = time.monotonic() + _BEGIN_SECONDS
    while (found := what()) is None:
        if process.poll() is not None or time.monotonic() > ends:
            raise BenchError(f"{log.stem} did not begin: {log.read_text(encoding='utf-8')[-500:]}")
        time.sleep(0.2)
    return found
