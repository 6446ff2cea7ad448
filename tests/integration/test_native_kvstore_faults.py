"""A sweep over the native parameter servers, as users start it, of which a process is killed, or whose ports get garbage."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import native_kvstore
import pytest

from harness.paths import EXPERIMENTS, REPOSITORY

pytestmark = pytest.mark.mxnet

LIMIT_SECONDS = 150
GARBAGE = (b"GET / HTTP/1.1\r\n\r\n", bytes(4096), os.urandom(4096), b"kvstore1" + os.urandom(4096))
LISTENS = "0A"
T = TypeVar("T")


class Sweep:
    """`experiments/quickstart.yaml` on two nodes of this machine, with native servers, at work."""

    def __init__(self, directory: Path, *options: str) -> None:
        runtime = native_kvstore.package().parents[3]
        self._directory = directory
        root = directory / "nodes"
        root.mkdir()
        (root / "runtime").symlink_to(runtime)
        hosts = {f"native-{number}": {"ansible_host": f"127.0.21.{number}"} for number in (1, 2)}
        variables = {
            "ansible_connection": "local", "cluster_kind": "local", "cluster_port": 19491, "node_supervisor": "process",
            "node_shared_machine": True, "node_root": str(root),
        }  # fmt: skip
        inventory = directory / "hosts.yml"
        inventory.write_text(json.dumps({"nodes": {"hosts": hosts, "vars": variables}}), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "harness",
            "sweep",
            EXPERIMENTS / "quickstart.yaml",
            "-i",
            inventory,
            "-q",
            "-n",
            "2",
        ]
        command += ["-o", directory / "results", "--set", "kvstore_implementation=native", *options]
        self.process = subprocess.Popen(
            [str(word) for word in command], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def ranks(self, role: str) -> dict[int, int]:
        """Process ids of the role's ranks by number."""
        found = {}
        for directory in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (directory / "environ").read_bytes().decode(errors="replace").split("\0")
                values = dict(word.partition("=")[::2] for word in words)
                here = (directory / "cwd").readlink().is_relative_to(self._directory)
                if here and values.get("HARNESS_ROLE") == role:
                    found[int(values["HARNESS_RANK"])] = int(directory.name)
        return found

    def trained(self, epoch: int = 1) -> None:
        """Wait until an epoch is over on both workers."""
        self._wait_for(lambda: sum(row["epoch"] == str(epoch) for row in self.rows("epochs.csv")) == 2)

    def ended(self, role: str) -> None:
        """Wait until no rank of the role is left."""
        self._wait_for(lambda: not self.ranks(role))

    def rows(self, name: str) -> list[dict[str, str]]:
        """The rows of a table so far."""
        for table in self._directory.glob(f"results/quickstart/latest/{name}"):
            lines = table.read_text(encoding="utf-8").splitlines()
            return list(csv.DictReader(line for line in lines if not line.startswith("#")))
        return []

    def log(self, rank: str) -> str:
        """What a rank printed."""
        (log,) = self._directory.glob(f"results/quickstart/latest/trials/*/{rank}.log")
        return log.read_text(encoding="utf-8")

    def trial(self) -> dict[str, str]:
        """The only trial's row, once the sweep has ended."""
        self.process.communicate(timeout=LIMIT_SECONDS)
        (row,) = self.rows("trials.csv")
        return row

    def _wait_for(self, look: Callable[[], T | None]) -> T:
        end = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            if found := look():
                return found
            time.sleep(0.2)
        raise AssertionError(f"the sweep ended or hangs: {self.process.stdout and self.process.stdout.read()}")


@contextmanager
def sweep(directory: Path, *options: str) -> Iterator[Sweep]:
    """A sweep that is interrupted at the latest when the test has ended."""
    running = Sweep(directory, *options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGINT)
            running.process.communicate(timeout=60)


def listening(process: int) -> list[tuple[str, int]]:
    """Addresses and ports at which a process listens."""
    descriptors = [str(path.readlink()) for path in Path(f"/proc/{process}/fd").iterdir()]
    places = []
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        if words[3] == LISTENS and f"socket:[{words[9]}]" in descriptors:
            address, port = words[1].split(":")
            places.append((socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16)))
    return places


def test_garbage_on_every_port_changes_nothing(tmp_path: Path) -> None:
    with sweep(tmp_path, "--set", "kvstore=dist_sync", "--set", "epochs=12") as running:
        running.trained()
        serving = [*running.ranks("scheduler").values(), *running.ranks("server").values()]
        places = [place for process in serving for place in listening(process)]
        for place in places:
            for garbage in GARBAGE:
                with socket.create_connection(place, 10) as stranger:
                    stranger.sendall(garbage)
        row = running.trial()
    assert len(places) == 3
    assert (row["status"], row["attempts"], row["failure"]) == ("ok", "1", "")


def test_a_killed_server_ends_the_trial_and_everybody_says_why(tmp_path: Path) -> None:
    with sweep(tmp_path, "--set", "kvstore=dist_sync", "--set", "epochs=100000") as running:
        running.trained()
        late = running.ranks("worker")[1]
        os.kill(late, signal.SIGSTOP)  # as one that has no processor: it wakes when all the others have ended
        os.kill(running.ranks("server")[1], signal.SIGKILL)
        running.ended("server")
        os.kill(late, signal.SIGCONT)
        row = running.trial()
    assert (row["status"], row["failure"]) == ("failed", "server1 on native-2: was killed by SIGKILL")
    ended = {row["role"] + row["rank"]: row["exit_code"] for row in running.rows("ranks.csv")}
    assert (ended["server1"], ended["scheduler0"]) == ("-9", "1")
    assert "lost server 1 at 127.0.21.2" in running.log("scheduler0")
    for worker in ("worker0", "worker1"):
        assert any(f"lost the connection to {who}" in running.log(worker) for who in ("server 1", "scheduler 0"))


def test_a_killed_workers_place_is_taken_by_another(tmp_path: Path) -> None:
    options = ("--set", "kvstore=dist_async", "--set", "epochs=12", "--recover-workers", "1")
    with sweep(tmp_path, *options) as running:
        running.trained(2)
        os.kill(running.ranks("worker")[1], signal.SIGKILL)
        row = running.trial()
    assert (row["status"], row["attempts"], row["recovered"]) == ("ok", "1", "1")
    assert sorted(int(row["epoch"]) for row in running.rows("epochs.csv")) == sorted([*range(1, 13)] * 2)
