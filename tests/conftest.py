"""Fixtures for all tests: a virtual cluster that the playbooks have provisioned."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playbooks import ProvisionedCluster, play

from harness.errors import HarnessError
from harness.virtual import cgroup, requirements
from harness.virtual.blueprint import Wishes
from harness.virtual.down import down
from harness.virtual.state import places_of
from harness.virtual.up import up

NODES = 3
SUBNET = "10.79.0.0/24"


def virtual_obstacle() -> str | None:
    """Why this machine cannot have a virtual cluster; None where it can."""
    try:
        requirements.require_all()
        cgroup.find_hierarchies()
    except HarnessError as error:
        return f"{error.message} ({error.remedy})"
    return None


@pytest.fixture(scope="session")
def provisioned_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProvisionedCluster]:
    """Three nodes at full speed: site.yml rehearsed with --check, run, and run again. HARNESS_MNIST_DIR is used if it is set.

    HARNESS_STATE_DIR points to the cluster's state while the tests run. The cluster is always removed.
    """
    if (reason := virtual_obstacle()) is not None:
        pytest.skip(reason)
    name = f"p{os.getpid():x}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_STATE_DIR", str(tmp_path_factory.mktemp("virtual")))
        try:
            up(name, Wishes(nodes=NODES, profile="none", subnet=SUBNET))
            inventory = places_of(name).inventory
            rehearsal = play("site.yml", inventory, "--check", cluster=name)
            first = play("site.yml", inventory, cluster=name)
            second = play("site.yml", inventory, cluster=name)
            nodes = tuple(sorted(second.recap))
            yield ProvisionedCluster(name, inventory, nodes, rehearsal, first, second)
        finally:
            down(name)
