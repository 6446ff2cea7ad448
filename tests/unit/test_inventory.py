"""The cluster, as Ansible reads it from an inventory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInputError
from harness.inventory import build_cluster, load_cluster
from harness.paths import REPOSITORY

HOSTS = """\
nodes:
  hosts:
    pi01: {ansible_host: 192.0.2.1, ansible_port: 2222}
  children:
    rest:
      hosts:
        pi02: {ansible_host: 192.0.2.2}
  vars:
    ansible_user: pi
    cluster_port: 7000
"""


def write(directory: Path, text: str) -> Path:
    (directory / "hosts.yml").write_text(text, encoding="utf-8")
    (directory / "known_hosts").write_text("192.0.2.1 ssh-ed25519 AAAA\n", encoding="utf-8")
    return directory


def test_nodes_come_in_inventory_order_with_what_they_inherit(tmp_path: Path) -> None:
    cluster = load_cluster(write(tmp_path, HOSTS))
    assert [(n.name, n.address, n.ssh_port, n.user) for n in cluster.nodes] == [
        ("pi01", "192.0.2.1", 2222, "pi"),
        ("pi02", "192.0.2.2", 22, "pi"),
    ]
    assert (cluster.kind, cluster.port) == ("pi", 7000)
    assert cluster.nodes[0].known_hosts == str(tmp_path / "known_hosts")
    assert cluster.nodes[0].supervisor == "systemd"


def test_templates_are_resolved_by_ansible(tmp_path: Path) -> None:
    text = HOSTS.replace("ansible_user: pi", 'ansible_user: "{{ login }}"\n    login: someone')
    assert {node.user for node in load_cluster(write(tmp_path, text)).nodes} == {"someone"}


def test_the_local_inventory_is_this_machine() -> None:
    cluster = load_cluster(REPOSITORY / "inventory" / "local")
    assert cluster.kind == "local"
    assert {node.local for node in cluster.nodes} == {True}
    assert {node.supervisor for node in cluster.nodes} == {"process"}
    assert len({node.address for node in cluster.nodes}) == len(cluster.nodes) >= 4
    assert cluster.nodes[0].root.startswith("/")


def test_the_example_for_boards_can_be_read() -> None:
    cluster = load_cluster(REPOSITORY / "inventory" / "pi.example")
    assert (cluster.kind, len(cluster.nodes)) == ("pi", 11)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"a": {"ansible_host": "192.0.2.1"}, "b": {"ansible_host": "192.0.2.1"}}, "hosts a and b have one address"),
        ({"a": {}}, "host a has no ansible_host"),
        ({"a": {"ansible_host": "pi.local"}}, "'pi.local' is not an IP address"),
        ({"a": {"ansible_host": "192.0.2.1", "node_supervisor": "cron"}}, "node_supervisor 'cron' is unknown"),
    ],
)
def test_an_unusable_description_is_refused(tmp_path: Path, variables: dict[str, dict[str, Any]], says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        build_cluster(tmp_path, variables)


def test_an_inventory_that_ansible_cannot_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot read inventory"):
        load_cluster(write(tmp_path, "nodes: [") / "hosts.yml")


def test_an_inventory_without_nodes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no hosts in group 'nodes'"):
        load_cluster(write(tmp_path, "other: {hosts: {a: }}"))


def test_an_absent_inventory_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="does not exist"):
        load_cluster(tmp_path / "nowhere")


def test_more_nodes_than_there_are(tmp_path: Path) -> None:
    cluster = load_cluster(write(tmp_path, HOSTS))
    assert [node.name for node in cluster.first(1, excluding=frozenset({"pi01"}))] == ["pi02"]
    with pytest.raises(BadInputError, match=r"3 nodes asked for, but .* has 2") as caught:
        cluster.first(3)
    assert "at most 2" in caught.value.remedy
