"""The whole path on virtual nodes: real Ansible over real SSH into real systemd, real MXNet processes, CSVs and a report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from harness.paths import EXPERIMENTS, REPOSITORY
from tests.conftest import ProvisionedCluster

pytestmark = [pytest.mark.virtual, pytest.mark.mxnet, pytest.mark.slow]


def harness(*arguments: str | Path, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


def sweep(cluster: ProvisionedCluster, results: Path, experiment: str, *arguments: str) -> Path:
    done = harness(
        "sweep",
        EXPERIMENTS / f"{experiment}.yaml",
        "-i",
        cluster.inventory,
        "-o",
        results,
        "--telemetry",
        "1",
        *arguments,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return results / experiment / "latest"


@pytest.fixture(scope="module")
def run(provisioned_cluster: ProvisionedCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    return sweep(provisioned_cluster, results, "quickstart", "--nodes", "1-3", "--set", "epochs=2")


def test_the_playbook_changed_nothing_the_second_time(provisioned_cluster: ProvisionedCluster) -> None:
    assert provisioned_cluster.first.returncode == 0, provisioned_cluster.first.output
    assert provisioned_cluster.second.total("changed") == 0, provisioned_cluster.second.output


def test_check_finds_the_cluster_fit(provisioned_cluster: ProvisionedCluster) -> None:
    done = harness("check", "-i", provisioned_cluster.inventory, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    findings = json.loads(done.stdout)
    assert {f["what"] for f in findings} >= {"ssh", "clock", "memory", "disk", "runtime", "network"}
    assert {f["node"] for f in findings} == set(provisioned_cluster.nodes)


def test_every_size_is_a_row(run: Path) -> None:
    trials = pd.read_csv(run / "trials.csv")
    assert list(trials["trial"]) == ["n01-r1", "n02-r1", "n03-r1"]
    assert list(trials["status"]) == ["ok"] * 3
    assert list(trials["workers"]) == list(trials["servers"]) == [1, 2, 3]
    measured = ["startup_seconds", "train_seconds", "total_seconds", "images_per_train_second", "validation_accuracy"]
    assert (trials[measured] > 0).all().all()
    assert (trials["validation_accuracy"] > 0.5).all()
    assert (trials["total_seconds"] > trials["train_seconds"]).all()


def test_every_worker_and_epoch_is_a_row(run: Path) -> None:
    epochs = pd.read_csv(run / "epochs.csv")
    assert len(epochs) == 2 * (1 + 2 + 3)
    for (_, _), rows in epochs.groupby(["trial", "epoch"]):
        assert sorted(rows["rank"]) == list(range(len(rows)))
        assert rows["node"].nunique() == len(rows)
        assert rows["steps"].nunique() == 1
        # Reduced over the workers, so all say the same.
        assert rows["validation_accuracy"].nunique() == 1
    together = epochs[epochs["nodes"] > 1]
    assert (together["bytes_sent"] > 0).all()


def test_every_rank_and_what_it_cost_is_a_row(run: Path) -> None:
    ranks, trials = pd.read_csv(run / "ranks.csv"), pd.read_csv(run / "trials.csv").set_index("trial")
    for trial, rows in ranks.groupby("trial"):
        workers = rows[rows["role"] == "worker"]
        assert len(workers) == trials["workers"][trial]
        assert (rows[["cpu_seconds", "max_rss_bytes", "context_switches"]] > 0).all().all()
        assert (workers["exit_code"] == 0).all()
        assert (rows["started_seconds"] < rows["ended_seconds"]).all()
        assert workers["cpu_seconds"].sum() == pytest.approx(trials["worker_cpu_seconds"][trial], abs=0.01)


def test_node_health_was_sampled(run: Path, provisioned_cluster: ProvisionedCluster) -> None:
    telemetry = pd.read_csv(run / "telemetry.csv")
    assert set(telemetry["node"]) == set(provisioned_cluster.nodes)
    assert (telemetry["memory_used_bytes"] > 0).all()


def test_the_manifest_says_what_it_stands_for(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["cluster"]["kind"] == "virtual"
    assert manifest["cluster"]["virtual"]
    assert {node["runtime"]["mxnet"] for node in manifest["cluster"]["nodes"]} == {"1.9.1"}
    assert manifest["experiment"]["name"] == "quickstart"


def test_the_report_is_one_page_with_figures(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons", ""
    )
    assert list((run / "figures").glob("*.png"))


def test_nothing_is_left_on_the_nodes(run: Path, provisioned_cluster: ProvisionedCluster) -> None:
    assert run.exists()
    for node in provisioned_cluster.nodes:
        listed = provisioned_cluster.on(
            node, "systemctl list-units --plain --no-legend --all 'harness-*'; pgrep -fc runtime/bin/pyth[o]n"
        )
        assert "harness-" not in listed.stdout


def test_the_other_stores_and_the_control(provisioned_cluster: ProvisionedCluster, tmp_path: Path) -> None:
    run = sweep(
        provisioned_cluster,
        tmp_path,
        "quickstart",
        "--nodes",
        "3",
        "--set",
        "epochs=1",
        "--set",
        "kvstore=allreduce,none,dist_async",
    )
    trials = pd.read_csv(run / "trials.csv").set_index("kvstore")
    assert set(trials["status"]) == {"ok"}
    assert list(trials.loc[["allreduce", "none", "dist_async"], "servers"]) == [0, 0, 3]


@pytest.mark.skipif(not os.environ.get("HARNESS_MNIST_DIR"), reason="HARNESS_MNIST_DIR names no directory with MNIST")
def test_mnist_on_two_nodes(provisioned_cluster: ProvisionedCluster, tmp_path: Path) -> None:
    run = sweep(
        provisioned_cluster, tmp_path, "lenet_scaling", "--nodes", "2", "--set", "epochs=1", "--set", "limit=12800"
    )
    trials = pd.read_csv(run / "trials.csv")
    assert trials.loc[0, "images"] == 12800
    assert trials.loc[0, "validation_accuracy"] > 0.6
