"""What is said of bad inventories, before anything is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from playbooks import Played, play

GOOD = {"ansible_host": "10.78.0.1"}


def write_inventory(directory: Path, hosts: dict[str, dict[str, Any]], **variables: Any) -> Path:
    path = directory / "hosts.yml"
    content = {"nodes": {"hosts": hosts, "vars": {"ansible_user": "pi", **variables}}}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def validate(path: Path) -> Played:
    # The play of the inventory only: nothing may be reached, and nothing is.
    return play("site.yml", path, "--check")


@pytest.mark.parametrize(
    ("hosts", "variables", "host", "fault", "remedy"),
    [
        ({"n1": {}}, {}, "n1", "no ansible_host", "IP address"),
        ({"n1": {"ansible_host": "pi.lan"}}, {}, "n1", "'pi.lan' is not an IP address", "its address"),
        ({"n1": {"ansible_host": "0.0.0.0"}}, {}, "n1", "no address of one machine", "IP address"),  # noqa: S104
        ({"n1": GOOD, "n2": GOOD}, {}, "n1 and n2", "have one address, 10.78.0.1", "of its own"),
        ({"Node_1": GOOD}, {}, "Node_1", "not a host name", "small letters"),
        ({"n1": GOOD}, {"cluster_kind": "cloud"}, "n1", "'cloud' is unknown", "local, virtual, emulated, pi"),
        ({"n1": GOOD}, {"node_supervisor": "cron"}, "n1", "'cron' is unknown", "systemd, process"),
        ({"n1": GOOD}, {"node_root": "/"}, "n1", "'/' is not a directory of our own", "/opt/harness"),
        ({"n1": GOOD}, {}, "n1", "known_hosts with the pinned host keys does not exist", "cluster_known_hosts"),
        (
            {"n1": GOOD},
            {"ansible_connection": "local"},
            "n1",
            "node_shared_machine is not true",
            "node_shared_machine: true",
        ),
    ],
)
def test_fault_is_named_with_host_and_remedy(
    tmp_path: Path, hosts: dict[str, dict[str, Any]], variables: dict[str, Any], host: str, fault: str, remedy: str
) -> None:
    if "pinned" not in fault:
        (tmp_path / "known_hosts").touch()
    played = validate(write_inventory(tmp_path, hosts, **variables))
    said = " ".join(played.output.split())
    assert played.returncode != 0
    assert host in said
    assert fault in said
    assert f"Try: {remedy}" in said or remedy in said
    assert "PLAY [Provision" not in played.output


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").touch()
    played = validate(write_inventory(tmp_path, {"n1": {}, "n2": {"ansible_host": "x"}, "N3": GOOD}))
    said = " ".join(played.output.split())
    assert "n1: no ansible_host" in said
    assert "n2: ansible_host 'x'" in said
    assert "N3: not a host name" in said


def test_an_inventory_without_nodes_is_told(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("others:\n  hosts:\n    n1:\n", encoding="utf-8")
    assert "nodes" in validate(path).output
