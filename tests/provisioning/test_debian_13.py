"""The virtual path on nodes of Debian 13, with Python 3.13: provision twice, check, sweep, report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from playbooks import ProvisionedCluster

from harness.paths import EXPERIMENTS
from harness.virtual.blueprint import ClusterRequest
from tests.conftest import provisioned

pytestmark = [pytest.mark.virtual, pytest.mark.slow, pytest.mark.timeout(1800)]
REQUEST = ClusterRequest(nodes=2, profile="none", subnet="10.83.0.0/24", suite="trixie")
NO_DATASETS = '{"dataset_names": []}'  # the digits of the sweep travel with the code


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProvisionedCluster]:
    directory = tmp_path_factory.mktemp("trixie")
    with provisioned(f"t{os.getpid():x}", directory, REQUEST, "-e", NO_DATASETS) as cluster:
        yield cluster


def harness(*arguments: str | Path) -> str:
    """What a verb says on standard output; it must succeed."""
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_playbook_is_rehearsed_and_changes_nothing_the_second_time(trixie: ProvisionedCluster) -> None:
    for played in (trixie.rehearsal, trixie.first, trixie.second):
        assert played.returncode == 0, played.output
    assert {host: counts["changed"] for host, counts in trixie.second.recap.items()} == {"node01": 0, "node02": 0}


def test_nodes_are_debian_13_with_a_runtime_for_its_python(trixie: ProvisionedCluster) -> None:
    asked = trixie.on("node01", ". /etc/os-release; echo $VERSION_CODENAME; cat /opt/harness/runtime/runtime.json")
    release, _, content = asked.stdout.partition("{")
    runtime = json.loads("{" + content)
    assert release.split()[-1] == "trixie"
    assert (runtime["python"].rpartition(".")[0], runtime["numpy"], runtime["mxnet"]) == ("3.13", "2.2.6", "1.9.1")
    assert "dist_sync" in runtime["stores"]


def test_check_finds_the_cluster_fit(trixie: ProvisionedCluster) -> None:
    findings = json.loads(harness("check", "-i", trixie.inventory, "--json"))
    assert {finding["node"] for finding in findings} == {"node01", "node02"}


def test_sweep_trains_by_both_stores_and_reports(trixie: ProvisionedCluster, tmp_path: Path) -> None:
    settings = ["--set", "epochs=2", "--set", "kvstore=dist_sync,allreduce"]
    harness("sweep", EXPERIMENTS / "quickstart.yaml", "-i", trixie.inventory, "-o", tmp_path, "--nodes", "2", *settings)
    run = tmp_path / "quickstart" / "latest"
    trials = pd.read_csv(run / "trials.csv")
    assert list(trials["status"]) == ["ok"] * 2
    assert (trials["validation_accuracy"] > 0.5).all()
    (run / "report.html").unlink()
    harness("report", run)
    assert "<svg" in (run / "report.html").read_text(encoding="utf-8")
