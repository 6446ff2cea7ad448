"""The command line as a user meets it: exit codes, and errors that name the thing and the remedy. No rank is started here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from forked_harness import harness

from harness.paths import EXPERIMENTS

HOSTS = """\
nodes:
  hosts:
    local-1: {{ansible_host: 127.0.0.1}}
    local-2: {{ansible_host: {second}}}
  vars:
    ansible_connection: local
    cluster_kind: local
    node_supervisor: process
    node_shared_machine: true
    node_root: {root}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return write_inventory(tmp_path)


def write_inventory(directory: Path, second: str = "127.0.0.2") -> Path:
    path = directory / "hosts.yml"
    path.write_text(HOSTS.format(root=directory / "node", second=second), encoding="utf-8")
    return path


def refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


QUICKSTART = EXPERIMENTS / "quickstart.yaml"


def test_version_and_help() -> None:
    command = [sys.executable, "-m", "harness", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip()
    assert done.stdout == harness("--version").stdout
    helped = harness("sweep", "--help")
    assert helped.returncode == 0
    assert "--resume" in helped.stdout


def test_a_plain_sweep_is_the_fast_one(inventory: Path) -> None:
    done = harness("plan", "-i", inventory, "--nodes", "2", "--json")
    assert done.returncode == 0, done.stderr
    plans = json.loads(done.stdout)
    assert len(plans) == 9  # 3 policies, 3 repeats
    for plan in plans:
        assert (plan["parameters"]["kvstore"], plan["parameters"]["dataset"]) == ("allreduce", "mnist")
        assert plan["ranks"] == {"local-1": ["worker0"], "local-2": ["worker1"]}


def test_a_plan_shows_where_each_rank_goes(inventory: Path) -> None:
    done = harness("plan", QUICKSTART, "-i", inventory, "--nodes", "1-2", "--set", "kvstore=dist_sync,none", "--json")
    assert done.returncode == 0, done.stderr
    plans = {plan["trial"]: plan for plan in json.loads(done.stdout)}
    assert plans["n02-r1-kvstore_dist_sync"]["ranks"] == {
        "local-1": ["scheduler0", "server0", "worker0"],
        "local-2": ["server1", "worker1"],
    }
    assert plans["n02-r1-kvstore_none"]["ranks"] == {"local-1": ["worker0"], "local-2": ["worker1"]}
    assert "--batch-size=16" in plans["n01-r1-kvstore_none"]["command"]


def test_a_dry_run_is_the_plan(inventory: Path, tmp_path: Path) -> None:
    done = harness("sweep", QUICKSTART, "-i", inventory, "--nodes", "2", "--dry-run", "-o", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert "n02-r1" in done.stdout
    assert not (tmp_path / "results").exists()


def test_an_unknown_key(inventory: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("name: bad\nprogram: train.py\nepochs: 3\n", encoding="utf-8")
    refused(harness("sweep", path, "-i", inventory), f"{path}:3: unknown key 'epochs'")


def test_more_nodes_than_the_inventory_has(inventory: Path) -> None:
    refused(harness("sweep", QUICKSTART, "-i", inventory, "--nodes", "3"), "3 nodes asked for")


def test_a_trial_that_cannot_be_is_refused_before_anything_is_known_of_the_nodes(inventory: Path) -> None:
    stages = ["--set", "kvstore=allreduce", "--set", "strategy=pipeline", "--set", "stages=3", "--nodes", "2"]
    said = {}
    for verb in ("plan", "sweep"):
        done = harness(verb, QUICKSTART, "-i", inventory, *stages)
        refused(done, "2 workers cannot be shared out evenly among 3 stages")
        said[verb] = done.stderr
    assert said["plan"] == said["sweep"]


def test_two_hosts_with_one_address(tmp_path: Path) -> None:
    path = write_inventory(tmp_path, second="127.0.0.1")
    refused(harness("check", "-i", path), "hosts local-1 and local-2 have one address, 127.0.0.1")


def test_a_node_without_the_runtime(inventory: Path) -> None:
    done = harness("sweep", QUICKSTART, "-i", inventory, "--nodes", "1")
    refused(done, "local-1: has no runtime")
    assert "site.yml" in done.stderr


def test_a_program_that_is_not_there(inventory: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("name: bad\nprogram: ../train.py\n", encoding="utf-8")
    refused(harness("plan", path, "-i", inventory), "program ../train.py is not in")


def test_a_run_that_is_none(tmp_path: Path) -> None:
    refused(harness("report", tmp_path), "is no run directory")


def test_check_fails_without_a_runtime(inventory: Path) -> None:
    done = harness("check", "-i", inventory, "--json", "--nodes", "1")
    assert done.returncode == 3, done.stderr
    findings = json.loads(done.stdout)
    assert [f["what"] for f in findings if f["level"] == "failed"] == ["runtime"]


def test_an_option_that_does_not_exist() -> None:
    assert harness("sweep", QUICKSTART, "--node", "3").returncode == 2


RATES = """\
# program: train.py
# model: lenet5
node,address,images_per_second,image_milliseconds,fixed_milliseconds,share
local-1,127.0.0.1,500,1,0,0.75
local-2,127.0.0.2,167,3,0,0.25
"""


def test_a_plan_shows_batches_by_rate(inventory: Path, tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text(RATES, encoding="utf-8")
    done = harness("plan", QUICKSTART, "-i", inventory, "--nodes", "2", "--batches-by-rate", rates, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["batch_sizes"] == [24, 8]


def test_rates_of_another_inventory_are_refused(inventory: Path, tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text(RATES.replace("127.0.0.2", "127.0.0.9"), encoding="utf-8")
    arguments = ("-i", inventory, "--nodes", "2", "-o", tmp_path / "results", "--batches-by-rate", rates)
    refused(harness("sweep", QUICKSTART, *arguments), "local-2 had the address 127.0.0.9")
    assert not (tmp_path / "results").exists()


def test_batches_by_rate_without_rates_are_refused(inventory: Path, tmp_path: Path) -> None:
    experiment = tmp_path / "mixed.yaml"
    experiment.write_text(QUICKSTART.read_text(encoding="utf-8") + "batches: by_rate\n", encoding="utf-8")
    refused(harness("plan", experiment, "-i", inventory), "no rates are given")


def test_a_benchmark_of_one_batch_size_is_refused(inventory: Path) -> None:
    refused(harness("benchmark", QUICKSTART, "-i", inventory, "--batch-sizes", "8"), "cannot tell a step's fixed cost")
