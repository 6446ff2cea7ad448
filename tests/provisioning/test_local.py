"""site.yml on this machine alone: no root, runtime only, and nothing outside node_root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playbooks import Played, play

from harness.paths import REPOSITORY

pytestmark = [pytest.mark.mxnet, pytest.mark.slow, pytest.mark.timeout(1800)]
LOCAL = REPOSITORY / "inventory" / "local"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local") / "harness"


def provision(root: Path, playbook: str = "site.yml", *arguments: str, mnist: str = "") -> Played:
    return play(playbook, LOCAL, "-e", f"node_root={root}", *arguments, environment={"HARNESS_MNIST_DIR": mnist})


def test_rehearsal_makes_nothing(root: Path) -> None:
    played = provision(root, "site.yml", "--check")
    assert played.returncode == 0, played.output
    assert not root.exists()


def test_check_says_that_there_is_nothing_yet(root: Path) -> None:
    played = provision(root, "check.yml")
    assert played.returncode != 0
    assert "there is no runtime" in played.output
    assert "harness provision" in played.output


def test_first_run_makes_a_runtime_by_one_host_for_all(root: Path) -> None:
    played = provision(root)
    assert played.returncode == 0, played.output
    assert [host for host, counts in played.recap.items() if counts["changed"]] == ["local-1"]
    state = json.loads((root / "runtime" / "runtime.json").read_text(encoding="utf-8"))
    assert state["mxnet"] == "1.9.1"
    assert "dist_sync" in state["stores"]
    assert not (root / "data").exists()


def test_second_run_changes_nothing(root: Path) -> None:
    played = provision(root)
    assert played.returncode == 0, played.output
    assert played.total("changed") == 0
    assert provision(root, "check.yml").returncode == 0


def test_absent_data_is_told_before_anything_is_copied(root: Path, tmp_path: Path) -> None:
    played = provision(root, mnist=str(tmp_path))
    said = " ".join(played.output.split())
    assert played.returncode != 0
    assert "neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz is there" in said
    assert str(tmp_path) in said
    assert not (root / "data").exists()


def test_unknown_data_set_is_told(root: Path) -> None:
    played = provision(root, "site.yml", "-e", '{"dataset_names": ["cifar"]}')
    assert played.returncode != 0
    assert "cifar" in played.output
    assert "fashion-mnist" in played.output
    assert "datasets.yaml" in played.output
    assert "PLAY [Provision" not in played.output


def test_reset_removes_all(root: Path) -> None:
    played = provision(root, "reset.yml", "-e", "reset_confirmed=true")
    assert played.returncode == 0, played.output
    assert not root.exists()
