"""From a benchmark to a sweep by its rates: real agents and real MXNet processes, on this machine's loopback addresses."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.paths import EXPERIMENTS, REPOSITORY

NODES = [f"mixed-{os.getpid()}-{number}" for number in (1, 2)]

pytestmark = [pytest.mark.mxnet, pytest.mark.slow]


@pytest.fixture
def local(tmp_path: Path) -> Path:
    python = os.environ.get("HARNESS_RUNTIME_PYTHON")
    if not python:
        pytest.skip("HARNESS_RUNTIME_PYTHON names no interpreter with MXNet")
    hosts = {name: {"ansible_host": f"127.0.10.{number}"} for number, name in enumerate(NODES, 1)}
    variables = {
        "ansible_connection": "local", "cluster_kind": "local", "cluster_port": 19291, "node_supervisor": "process",
        "node_shared_machine": True, "node_root": str(Path(python).parents[2]),
    }  # fmt: skip
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"nodes": {"hosts": hosts, "vars": variables}}), encoding="utf-8")
    return inventory


def harness(verb: str, local: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "harness",
        verb,
        EXPERIMENTS / "quickstart.yaml",
        "-i",
        local,
        "-q",
        *arguments,
    ]
    return subprocess.run(
        [str(word) for word in command], cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False
    )


def rows(file: Path) -> list[dict[str, str]]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def test_batches_follow_measured_rates(local: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    done = harness("benchmark", local, "--steps", "5", "--epochs", "2", "--repeats", "1", "-o", results)
    assert done.returncode == 0, done.stderr
    rates = results / "quickstart_benchmark" / "latest" / "rates.csv"
    assert [row["node"] for row in rows(rates)] == NODES

    # two processes of one machine are equally fast: make them differ
    text = rates.read_text(encoding="utf-8").replace(rows(rates)[0]["image_milliseconds"], "9999")
    rates.write_text(text, encoding="utf-8")
    options = ["-o", results, "-n", "2", "--set", "epochs=1", "--batches-by-rate", rates.parent]
    done = harness("sweep", local, *options, "--set", "kvstore=dist_sync,allreduce")
    assert done.returncode == 0, done.stderr
    run = results / "quickstart" / "latest"
    for trial in ("n02-r1-kvstore_dist_sync", "n02-r1-kvstore_allreduce"):
        assert json.loads((run / "trials" / trial / "trial.json").read_text())["batch_sizes"] == [1, 31]
        images = {row["node"]: int(row["images"]) for row in rows(run / "epochs.csv") if row["trial"] == trial}
        assert images[NODES[1]] == 31 * images[NODES[0]]
    accuracies = [float(row["validation_accuracy"]) for row in rows(run / "epochs.csv")]
    assert max(accuracies) - min(accuracies) < 0.01
    assert "batches by rate" in (run / "report.html").read_text(encoding="utf-8")

    rates.write_text(text.replace("9999", "1"), encoding="utf-8")
    done = harness("sweep", local, *options, "--set", "kvstore=dist_sync,allreduce", "--resume", run)
    assert done.returncode == 2
    assert "changed: the nodes' rates" in done.stderr
