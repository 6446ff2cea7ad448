"""Forests, searches and walks on Dask's workers: nodes that are this machine, with the environment that the role makes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from dask_nodes import Nodes, listening, nothing_is_left, pids, ranks, running

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


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, dask_root: Path) -> Nodes:
    return Nodes(tmp_path_factory.mktemp("dask"), dask_root)


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
        # Nobody asked for the dashboard, so nothing listens but at the node's own address.
        serving = [pid for role in ("scheduler", "worker", "driver") for pid in pids(nodes, role, 0)]
        assert {host for pid in serving for host, _ in listening(pid)} == {"127.0.37.1"}
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
