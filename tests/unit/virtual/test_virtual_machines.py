"""A virtual cluster of the machines that an inventory describes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from harness.errors import BadInputError
from harness.nodes.inventory import Cluster
from harness.nodes.read_inventory import build_cluster, load_cluster
from harness.paths import REPOSITORY
from harness.virtual.blueprint import ClusterRequest, designed
from harness.virtual.host.names import nodes_of
from harness.virtual.inventory import inventory_text
from harness.virtual.machines import imitating


@pytest.fixture(scope="module")
def table1() -> Cluster:
    assert REPOSITORY is not None
    return load_cluster(REPOSITORY / "inventory" / "table1.example")


def test_table_1_becomes_six_nodes_each_with_its_cores_memory_and_speed(table1: Cluster) -> None:
    blueprint = designed("t", imitating(table1, ClusterRequest(dilation=6.0)), None)
    speeds = [blueprint.options.speed_of(node.name)[0] for node in blueprint.nodes]
    assert speeds == ["pi4", "desktop", "pi4", "pi4", "pi4", "laptop"]
    assert [blueprint.memory_of(node.name) >> 30 for node in blueprint.nodes] == [2, 9, 2, 2, 2, 13]
    assert blueprint.options.dilation == 6.0


def test_its_inventory_has_the_same_cores_and_groups(table1: Cluster) -> None:
    options = designed("t", imitating(table1, ClusterRequest()), None).options
    text = inventory_text(
        "t", list(nodes_of("t", 6, "10.77.0.0/24")), Path("/k"), Path("/h"), Path("/c"), machines=options.machines
    )
    children = yaml.safe_load(text)["all"]["children"]
    assert children["scheduler"] == {"hosts": {"node02": None}}
    hosts = children["nodes"]["hosts"]
    assert [host["node_cores"] for host in hosts.values()] == [4, 7, 4, 4, 4, 7]
    assert hosts["node06"] == {"ansible_host": "10.77.0.6", "node_cores": 7, "node_memory": "13312MiB"}


def test_it_stays_what_it_is_when_it_is_raised_again(table1: Cluster) -> None:
    before = designed("t", imitating(table1, ClusterRequest()), None).options
    assert designed("t", ClusterRequest(), before).options == before


def test_a_machine_that_is_not_described_is_refused(table1: Cluster) -> None:
    with pytest.raises(BadInputError, match="host a has no node_profile"):
        imitating(build_cluster(Path("i"), {"a": {"ansible_host": "10.0.0.1"}}), ClusterRequest())
    lacking = replace(table1, nodes=(replace(table1.nodes[0], memory_bytes=None), *table1.nodes[1:]))
    with pytest.raises(BadInputError, match="host pi01 has no node_memory"):
        imitating(lacking, ClusterRequest())
    with pytest.raises(BadInputError, match="has 6 machines"):
        imitating(table1, ClusterRequest(nodes=3))
