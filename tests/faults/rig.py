"""The bench of the fault matrix: a virtual cluster, the harness as a user starts it, and a look at every node from outside."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from harness.nodes.read_inventory import load_cluster
from harness.paths import REPOSITORY
from harness.virtual import cluster
from harness.virtual.host.names import node_namespace

WORK = Path(__file__).parent / "programs" / "work.py"
START_SECONDS = 120.0


@dataclass(frozen=True)
class Process:
    """A process of a rank, by the machine's own number."""

    pid: int
    node: str
    role: str
    number: str


class Rig:
    """One cluster, and what the cases do to it."""

    def __init__(self, inventory: Path) -> None:
        self.inventory = inventory
        self.name = inventory.parent.parent.name
        self.nodes = [node.name for node in load_cluster(inventory).nodes]
        self.results = Path(tempfile.mkdtemp(prefix="faults-"))
        self._namespaces: dict[int, str] = {}
        self.refresh()

    def close(self) -> None:
        """Remove what the cases wrote."""
        shutil.rmtree(self.results, ignore_errors=True)

    def refresh(self) -> None:
        """A node that was started again has a network namespace of the same name, perhaps another one."""
        self._namespaces = {
            (Path("/run/netns") / node_namespace(self.name, index)).stat().st_ino: node
            for index, node in enumerate(self.nodes, 1)
        }

    def harness(self, *arguments: str) -> Running:
        """Start the harness."""
        return Running(self, [sys.executable, "-m", "harness", *arguments])

    def launch(self, *options: str, program: tuple[str, ...] = (), inventory: Path | None = None) -> Running:
        """Start `harness launch` of the small program on all nodes."""
        given = str(inventory or self.inventory)
        return self.harness(
            "launch", "-n", str(len(self.nodes)), "-s", "1", "-q", "-i", given, "-o", str(self.results),
            "--telemetry", "1", *options, "--", "python", str(WORK), *program,
        )  # fmt: skip

    def train(self, *options: str, epochs: int = 400) -> Running:
        """Start a sweep of one trial of real training."""
        return self.harness(
            "sweep", "experiments/quickstart.yaml", "-i", str(self.inventory), "-o", str(self.results),
            "-n", str(len(self.nodes)), "--set", f"epochs={epochs}", "-q", *options,
        )  # fmt: skip

    def ranks(self) -> list[Process]:
        """Every process on a node that carries a trial's environment, wherever it comes from."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                node = self._namespaces.get((directory / "ns" / "net").stat().st_ino)
                if node is None:
                    continue
                text = (directory / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            values = dict(pair.partition("=")[::2] for pair in text.split("\0"))
            if "HARNESS_TRIAL_TOKEN" in values:
                role = values.get("HARNESS_ROLE", "")
                found.append(Process(int(directory.name), node, role, values.get("HARNESS_RANK", "0")))
        return found

    def processes(self) -> int:
        """How many processes all nodes have."""
        count = 0
        for directory in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                count += (directory / "ns" / "net").stat().st_ino in self._namespaces
        return count

    def rank(self, role: str, number: str = "0") -> Process:
        """The process of one rank; waits until it is there."""
        return wait_for(
            lambda: next((p for p in self.ranks() if (p.role, p.number) == (role, number)), None),
            START_SECONDS,
            f"{role}{number}",
        )

    def signal_keeper(self, process: Process, number: int) -> None:
        """Signal the keeper of a rank's process: its parent."""
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace")
        parent = re.search(r"^PPid:\s+(\d+)$", status, re.MULTILINE)
        assert parent is not None
        os.kill(int(parent[1]), number)

    def signal_rank(self, role: str, number: str, signal_number: int) -> None:
        """Signal a rank, from outside."""
        kill(self.rank(role, number), signal_number)

    def inside(self, node: str, *command: str) -> str:
        """Run a command as root in a node's namespaces, past its network: what a person at the board would type."""
        init = self.init_of(node)
        return subprocess.run(
            ["nsenter", "--target", str(init), "--mount", "--uts", "--ipc", "--net", "--pid", "--", *command],
            capture_output=True, text=True, timeout=30, check=True,
        ).stdout  # fmt: skip

    def init_of(self, node: str) -> int:
        """The node's first process."""
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                if self._namespaces.get((directory / "ns" / "net").stat().st_ino) != node:
                    continue
                status = (directory / "status").read_text(encoding="ascii", errors="replace")
            except OSError:
                continue
            if re.search(r"^NSpid:\s+\d+\s+1$", status, re.MULTILINE):
                return int(directory.name)
        raise RuntimeError(f"{node} is not running")

    def with_node(self, node: str, **variables: str) -> Path:
        """A copy of the inventory with one node's variables changed, and its known_hosts beside it."""
        directory = Path(tempfile.mkdtemp(dir=self.results))
        pinned = self.inventory.with_name("known_hosts")
        shutil.copy(pinned, directory / "known_hosts")
        text = self.inventory.read_text(encoding="utf-8").replace(str(pinned), str(directory / "known_hosts"))
        (directory / "hosts.yml").write_text(text, encoding="utf-8")
        host_vars = directory / "host_vars"
        host_vars.mkdir()
        lines = "".join(f"{name}: {value}\n" for name, value in variables.items())
        (host_vars / f"{node}.yml").write_text(lines, encoding="utf-8")
        return directory / "hosts.yml"

    @contextmanager
    def cut(self, node: str) -> Iterator[None]:
        """A node without its cable."""
        cluster.cut_link(self.name, node)
        try:
            yield
        finally:
            cluster.restore_link(self.name, node)

    def reboot(self, node: str) -> None:
        """Pull the plug and put it in again."""
        cluster.power_off(self.name, node)
        cluster.power_on(self.name, node)
        self.refresh()


class Running:
    """The harness at work, watched: when ranks were last seen on any node."""

    def __init__(self, rig: Rig, command: list[str]) -> None:
        self._rig = rig
        self._before = set(rig.results.glob("*/2*"))
        self.began = time.time()
        self.last_seen = self.began
        self._over = threading.Event()
        self.process = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip
        self._output: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._look, daemon=True).start()

    @property
    def output(self) -> str:
        """What the harness has said."""
        return "".join(self._output)

    @property
    def said(self) -> str:
        """Its output without line breaks, which depend on the terminal's width."""
        return " ".join(self.output.split())

    @property
    def error(self) -> str:
        """From its first error on, what it has said; all of it where there is none."""
        return self.said[max(self.said.find("error: "), 0) :]

    @property
    def directory(self) -> Path:
        """Its run directory; waits until it is there."""

        def look() -> Path | None:
            if self.process.poll() is not None and not set(self._rig.results.glob("*/2*")) - self._before:
                raise RuntimeError(f"the harness ended: {self.output}")
            return next(iter(set(self._rig.results.glob("*/2*")) - self._before), None)

        return wait_for(look, START_SECONDS, "the run directory")

    def started(self) -> None:
        """Wait until every worker has said something."""
        count = len(self._rig.nodes)

        def look() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"the harness ended: {self.output}")
            return len([p for p in self.directory.glob("trials/*/worker*.log") if p.stat().st_size]) == count

        wait_for(look, START_SECONDS, "output of all workers")

    def trained(self, epoch: int = 1) -> None:
        """Wait until an epoch is over on every worker."""

        def look() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"the harness ended: {self.output}")
            return len([row for row in self.rows("epochs.csv") if row["epoch"] == str(epoch)]) == len(self._rig.nodes)

        wait_for(look, 2 * START_SECONDS, f"epoch {epoch}")

    def signal(self, number: int) -> None:
        """Signal the harness."""
        self.process.send_signal(number)

    def end(self, limit: float) -> int:
        """Its exit status; a harness that hangs is killed and fails the case."""
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise RuntimeError(f"the harness did not end within {limit:.0f} s: {self.output[-500:]}") from None

    def wait_until_clean(self, limit: float) -> int:
        """Wait until no rank is left; how many are."""
        end = time.monotonic() + limit
        while (left := len(self._rig.ranks())) and time.monotonic() < end:
            time.sleep(0.2)
        self._over.set()
        return left

    def detected_at(self) -> float | None:
        """When the launcher knew of the failure, by its own record."""
        for row in self.rows("trials.csv"):
            return datetime.fromisoformat(row["started_at"]).timestamp() + float(row["total_seconds"])
        return None

    def rows(self, name: str) -> list[dict[str, str]]:
        """The rows of a CSV so far."""
        table = self.directory / name
        return list(csv.DictReader(table.read_text(encoding="utf-8").splitlines())) if table.exists() else []

    def failure(self) -> str:
        """What trials.csv says of the failure."""
        return next((row["failure"] for row in self.rows("trials.csv")), "no row")

    def epochs_lost(self, epochs: int) -> int:
        """Rows of epochs.csv that a trial of so many epochs should have and has not, or has twice."""
        found = Counter((row["rank"], row["epoch"]) for row in self.rows("epochs.csv"))
        due = Counter((str(rank), str(epoch)) for rank in range(len(self._rig.nodes)) for epoch in range(1, epochs + 1))
        return (found - due).total() + (due - found).total()

    def rows_lost(self) -> int:
        """Numbered lines that are missing or doubled in a log, and epochs that a log has and epochs.csv has not."""
        lost = 0
        said = 0
        for log in self.directory.glob("trials/*/*.log"):
            text = log.read_text(encoding="utf-8", errors="replace")
            numbers = [int(n) for n in re.findall(r"^line (\d+)$", text, re.MULTILINE)]
            lost += sum(a != b for a, b in zip(numbers, range(len(numbers)), strict=True))
            said += len(re.findall(r'^\{"event": "epoch".*\}$', text, re.MULTILINE))
        rows = len((self.directory / "epochs.csv").read_text(encoding="utf-8").splitlines()) - 1
        return lost + abs(said - rows if self.directory.parent.name != "launch" else 0)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._output.append(line)

    def _look(self) -> None:
        while not self._over.wait(0.2):
            if self._rig.ranks():
                self.last_seen = time.time()


T = TypeVar("T")


def wait_for(look: Callable[[], T | None], limit: float, what: str) -> T:
    """The first true answer of `look`."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.1)
    raise RuntimeError(f"{what} did not come within {limit:.0f} s")


def kill(process: Process, number: int = signal.SIGKILL) -> None:
    """Signal a rank, from outside."""
    os.kill(process.pid, number)
