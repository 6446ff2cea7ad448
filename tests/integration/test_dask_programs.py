"""Forests, searches and walks on Dask's workers: nodes that are this machine, with the environment that the role makes."""

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
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.paths import EXPERIMENTS

CONNECT = """\
import os, sys
import dask, distributed
for name in [name for name in os.environ if name.startswith("DASK_")]:
    del os.environ[name]
dask.config.refresh()
dask.config.set({"distributed.comm.timeouts.connect": "3s"})
kind, address, certificate, key = sys.argv[1:]
security = None
if kind != "tcp":
    files = {"tls_ca_file": certificate, "tls_client_cert": certificate, "tls_client_key": key}
    security = distributed.Security(**files, require_encryption=True)
try:
    client = distributed.Client(f"{'tcp' if kind == 'tcp' else 'tls'}://{address}", security=security, timeout=5)
    print("connected", len(client.scheduler_info(n_workers=-1)["workers"]))
except Exception as error:
    print("refused", type(error).__name__)
"""


class Nodes:
    """Three nodes, and a directory for experiments of them."""

    def __init__(self, directory: Path, root: Path) -> None:
        self.directory, self.root = directory, root
        variables = {
            "cluster_kind": "local", "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
            "node_root": str(root), "node_supervisor": "process", "node_shared_machine": True, "node_threads": 1,
            "node_cores": 1, "node_memory": "2GiB", "cluster_port": 20000 + os.getpid() % 20000,
        }  # fmt: skip
        hosts = {f"d-{number}": {"ansible_host": f"127.0.37.{number}"} for number in (1, 2, 3)}
        self.inventory = directory / "hosts.json"
        self.inventory.write_text(json.dumps({"nodes": {"hosts": hosts, "vars": variables}}), encoding="utf-8")

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


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, dask_root: Path) -> Nodes:
    return Nodes(tmp_path_factory.mktemp("dask"), dask_root)


def processes(nodes: Nodes) -> Iterator[tuple[int, dict[str, str], list[str]]]:
    """What runs for trials on these nodes, also what ranks have forked: its number, environment and command."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            text = dict(line.split("=", 1) for line in path.read_text(errors="replace").split("\0") if "=" in line)
            words = (path.parent / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if text.get("HARNESS_DATA") == f"{nodes.root}/data":
            yield int(path.parent.name), text, words


def ranks(nodes: Nodes, role: str) -> dict[int, int]:
    """The ranks' own processes of a role, by its number."""
    return {
        int(text["HARNESS_RANK"]): number
        for number, text, words in processes(nodes)
        if text["HARNESS_ROLE"] == role and len(words) > 1 and words[1].endswith(".py") and "/programs/" in words[1]
    }


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


def test_every_way_grows_the_same_forest_bit_for_bit(nodes: Nodes) -> None:
    code, said = nodes.sweep("one", "forest.py", 1, "--set via=serial,pool,scatter", trees=40, via="serial")
    assert code == 0, said
    code, said = nodes.sweep("two", "forest.py", 2, "--set via=joblib,batches", trees=40, via="joblib")
    assert code == 0, said
    rows = nodes.rows("one") + nodes.rows("two")
    assert [row["via"] for row in rows] == ["serial", "pool", "scatter", "joblib", "batches"]
    assert len({row["weights_sha256"] for row in rows}) == 1
    assert len(rows[0]["weights_sha256"]) == 64
    assert {row["images"] for row in rows} == {"40"}
    workers = [row for row in nodes.rows("two", "epochs") if row["trial"].endswith("batches") and row["rank"] != "0"]
    assert sum(int(row["images"]) for row in workers) == 40
    assert all(int(row["bytes_sent"]) > 0 for row in workers)


def test_every_way_finds_the_same_scores_and_walks(nodes: Nodes) -> None:
    grid = "{C: [0.1, 1], kernel: [linear]}"
    code, said = nodes.sweep("found", "search.py", 1, "--set via=serial,batches", grid=grid, limit=200, via="serial")
    assert code == 0, said
    code, said = nodes.sweep(
        "walked", "montecarlo.py", 1, "--set via=serial,batches", walks=50, walk_length=10, via="serial"
    )
    assert code == 0, said
    for name in ("found", "walked"):
        assert len({row["weights_sha256"] for row in nodes.rows(name)}) == 1, name


def test_a_killed_worker_costs_its_trees_and_nothing_else(nodes: Nodes) -> None:
    trees = 2500
    code, said = nodes.sweep("whole", "forest.py", 1, trees=trees, via="pool")
    assert code == 0, said
    with running(nodes, "killed", "forest.py", 3, trees=trees, via="batches") as wait:
        os.kill(ranks(nodes, "worker")[1], signal.SIGKILL)
        code, said = wait()
    assert code == 0, said
    assert "worker1 on d-2: was killed by SIGKILL; the trial goes on without it" in said
    (row,) = nodes.rows("killed")
    assert (row["status"], row["images"]) == ("ok", str(trees))
    assert row["weights_sha256"] == nodes.rows("whole")[0]["weights_sha256"]
    ends = {(each["role"], each["rank"]): each["exit_code"] for each in nodes.rows("killed", "ranks")}
    assert ends["worker", "1"] == "-9"
    assert nothing_is_left(nodes)


def test_who_has_not_the_trials_certificate_is_refused(nodes: Nodes, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=harness trial",
         "-keyout", f"{other}.key", "-out", str(other)], check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    with running(nodes, "guarded", "forest.py", 1, trees=1_000_000, via="batches"):
        environment = Path(f"/proc/{ranks(nodes, 'scheduler')[0]}/environ").read_text()
        variables = dict(part.split("=", 1) for part in environment.split("\0") if "=" in part)
        address = variables["DASK_SCHEDULER_ADDRESS"].removeprefix("tls://")
        ours = tmp_path / "ours.pem"
        for path, part in ((ours, "CERT"), (tmp_path / "ours.pem.key", "KEY")):
            path.write_text(variables[f"DASK_DISTRIBUTED__COMM__TLS__CLIENT__{part}"], encoding="ascii")

        def connect(kind: str, certificate: Path) -> str:
            return subprocess.run(
                [str(nodes.root / "runtimes/dask/bin/python"), "-c", CONNECT, kind, address, str(certificate),
                 f"{certificate}.key"], capture_output=True, text=True, timeout=60, check=True,
            ).stdout.strip()  # fmt: skip

        assert connect("tcp", other).startswith("refused")
        assert connect("tls", other).startswith("refused")
        assert connect("tls", ours) == "connected 1"
    assert nothing_is_left(nodes)


def test_what_scikit_learn_does_not_take_is_said_and_nothing_is_left_running(nodes: Nodes) -> None:
    for name, parameters, expected in (
        ("nobody", {"estimator": "RandomWoods"}, "there is no estimator sklearn.ensemble.RandomWoods"),
        ("value", {"settings": "{max_depth: deep}"}, "The 'max_depth' parameter of RandomForestClassifier must be"),
    ):
        code, said = nodes.sweep(name, "forest.py", 1, trees=10, via="batches", **parameters)
        assert code == 1, said
        assert expected in said
        assert nothing_is_left(nodes)


def test_a_port_that_is_taken_is_said(nodes: Nodes) -> None:
    port = json.loads(nodes.inventory.read_text(encoding="utf-8"))["nodes"]["vars"]["cluster_port"]
    with socket.create_server(("127.0.37.1", port)):
        code, said = nodes.sweep("taken", "forest.py", 1, trees=10, via="batches")
    assert code == 1
    assert f"the scheduler cannot listen at 127.0.37.1:{port}" in said


def test_who_is_there_is_known_at_any_time(dask_root: Path, tmp_path: Path) -> None:
    """Asked often, the client's own questions come between: nobody may seem to be gone."""
    script = """\
import sys
sys.path.insert(0, sys.argv[1])
from distributed import Client, LocalCluster
from tasks.batches.crews import Call, DaskCrew
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            client._periodic_callbacks["scheduler-info"].callback_time = 1
            client._periodic_callbacks["scheduler-info"].stop()
            client.loop.add_callback(client._periodic_callbacks["scheduler-info"].start)
            crew = DaskCrew(client, Call("math", "gcd"))
            print({tuple(crew.workers().values()) for _ in range(300)})
"""
    path = tmp_path / "asks.py"
    path.write_text(script, encoding="utf-8")
    done = subprocess.run(
        [str(dask_root / "runtimes/dask/bin/python"), str(path), str(EXPERIMENTS)],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.strip() == "{(2,)}", done.stderr
