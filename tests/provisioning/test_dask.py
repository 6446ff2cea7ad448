"""The role dask on this machine: an environment of its own, beside none of MXNet's."""

from __future__ import annotations

import json

import pytest
from playbooks import DaskProvisioned, play

from harness.paths import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_rehearsal_says_what_would_be_installed_and_makes_nothing(dask_provisioned: DaskProvisioned) -> None:
    assert dask_provisioned.rehearsal.returncode == 0, dask_provisioned.rehearsal.output
    assert "scikit-learn==1.9.1" in dask_provisioned.rehearsal.output
    assert dask_provisioned.rehearsal_made_nothing


def test_it_is_installed_once_for_all_nodes_of_the_machine(dask_provisioned: DaskProvisioned) -> None:
    played = dask_provisioned.first
    assert played.returncode == 0, played.output
    assert [host for host, counts in played.recap.items() if counts["changed"]] == ["local-1"]
    state = json.loads((dask_provisioned.root / "runtimes/dask/runtime.json").read_text(encoding="utf-8"))
    assert {"dask", "distributed", "joblib", "numpy", "scikit_learn", "scipy"} <= set(state)
    assert not (dask_provisioned.root / "runtime").exists()


def test_a_second_run_changes_nothing(dask_provisioned: DaskProvisioned) -> None:
    assert dask_provisioned.second.returncode == 0, dask_provisioned.second.output
    assert dask_provisioned.second.total("changed") == 0


def test_a_runtime_that_nobody_knows_is_refused() -> None:
    played = play(
        "site.yml", REPOSITORY / "inventory" / "local", "--check", "-e", '{"node_runtimes": ["dask", "spark"]}'
    )
    assert played.returncode != 0
    assert "spark" in played.output
