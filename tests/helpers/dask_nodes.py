"""Nodes that are this machine, with the environment of the role dask, and what runs on them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from local_nodes import write_inventory


class Nodes:
    """Three nodes, and a directory for experiments of them."""

    def __init__(self, directory: Path, root: Path) -> None:
        self.directory, self.root = directory, root
        hosts = {f"d-{number}": f"127.0.37.{number}" for number in (1, 2, 3)}
        self.inventory = write_inventory(
            directory / "hosts.json", root, hosts,
            node_threads=1, node_cores=1, node_memory="2GiB", cluster_port=20000 + os.getpid() % 20000,
        )  # fmt: skip

    def start(
        self, name: str, program: str, nodes: object, axes: str = "", **parameters: object
    ) -> subprocess.Popen[str]:
        """Begin the sweep of an experiment."""
        document = {"name": name, "program": program, "parameters": parameters, "axes": {"nodes": nodes}}
        (self.directory / f"{name}.yaml").write_text(json.dumps(document), encoding="utf-8")
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HARNESS_")}
        return subprocess.Popen(
            [sys.executable, "-m", "harness", "sweep", f"{name}.yaml", *axes.split()],
            cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**kept, "HARNESS_INVENTORY": str(self.inventory), "COLUMNS": "300",
                 "HARNESS_CACHE_DIR": str(self.directory / ".cache")},
        )  # fmt: skip

    def sweep(self, name: str, program: str, nodes: object, axes: str = "", **parameters: object) -> tuple[int, str]:
        """Sweep it to the end: exit code and what was said."""
        process = self.start(name, program, nodes, axes, **parameters)
        said, _ = process.communicate(timeout=300)
        return process.returncode, said

    def rows(self, name: str, table: str = "trials") -> list[dict[str, str]]:
        text = (self.directory / "results" / name / "latest" / f"{table}.csv").read_text(encoding="utf-8")
        return list(csv.DictReader(text.splitlines()))

    def log(self, name: str, rank: str) -> str:
        """What a rank of the only trial has said so far."""
        return "".join(
            path.read_text(encoding="utf-8")
            for path in self.directory.glob(f"results/{name}/latest/trials/*/{rank}.log")
        )


def without(nodes: Nodes, part: str, directory: Path) -> Nodes:
    """Nodes in another directory, with the same environment but for a part that its record does not name."""
    environment = directory / "root" / "runtimes" / "dask"
    environment.mkdir(parents=True)
    theirs = nodes.root / "runtimes" / "dask"
    for path in theirs.iterdir():
        if path.name != "runtime.json":
            (environment / path.name).symlink_to(path)
    state = json.loads((theirs / "runtime.json").read_text(encoding="utf-8"))
    state.pop(part, None)
    (environment / "runtime.json").write_text(json.dumps(state), encoding="utf-8")
    return Nodes(directory, directory / "root")


def processes(nodes: Nodes) -> Iterator[tuple[int, dict[str, str], list[str]]]:
    """What runs for trials on these nodes, also what ranks have forked: its number, environment and command."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            text = dict(line.split("=", 1) for line in path.read_text(errors="replace").split("\0") if "=" in line)
            words = (path.parent / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            continue
        if text.get("HARNESS_DATA") == f"{nodes.root}/data":
            yield int(path.parent.name), text, words


def ranks(nodes: Nodes, role: str) -> dict[int, int]:
    """The ranks' own processes of a role, by its number."""
    return {
        int(text["HARNESS_RANK"]): number
        for number, text, words in processes(nodes)
        if text.get("HARNESS_ROLE") == role and len(words) > 1 and words[1].endswith(".py") and "/programs/" in words[1]
    }


def pids(nodes: Nodes, role: str, rank: int) -> list[int]:
    """All processes of a rank, those of its pool too."""
    wanted = (role, str(rank))
    return [pid for pid, text, _ in processes(nodes) if (text.get("HARNESS_ROLE"), text.get("HARNESS_RANK")) == wanted]


def wait_until(found: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Look several times a second."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def listening(pid: int) -> set[tuple[str, int]]:
    """The IPv4 addresses and ports at which a process listens."""
    sockets = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(str(path.readlink()))
        except OSError:
            continue
    found = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
            host, port = fields[1].split(":")
            found.add((".".join(str(byte) for byte in bytes.fromhex(host)[::-1]), int(port, 16)))
    return found


def nothing_is_left(nodes: Nodes) -> bool:
    """Whether all that a trial started has ended, within a few seconds."""
    deadline = time.monotonic() + 10
    while any(processes(nodes)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not any(processes(nodes))


@contextmanager
def running(
    nodes: Nodes, name: str, *arguments: object, **parameters: object
) -> Iterator[Callable[[], tuple[int, str]]]:
    """A sweep whose driver has begun; gives what waits for its end."""
    process = nodes.start(name, *arguments, **parameters)  # type: ignore[arg-type]
    try:
        deadline = time.monotonic() + 120
        while '"progress"' not in nodes.log(name, "driver0"):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)

        def wait() -> tuple[int, str]:
            said, _ = process.communicate(timeout=300)
            return process.returncode, said

        yield wait
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
