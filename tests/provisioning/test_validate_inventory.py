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


def validate(path: Path, *arguments: str) -> Played:
    # The play of the inventory only: nothing may be reached, and nothing is.
    return play("site.yml", path, "--check", *arguments)


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
        ({"n1": GOOD}, {"node_root": "/etc"}, "n1", "'/etc' is not a directory of our own", "/opt/harness"),
        ({"n1": GOOD}, {"node_root": "/home/pi/"}, "n1", "'/home/pi/' is not a directory of our own", "/opt/harness"),
        ({"n1": {"ansible_host": "fd00::1"}}, {}, "n1", "'fd00::1' is IPv6", "the node's IPv4 address"),
        ({"n1": GOOD}, {"cluster_port": 70000}, "n1", "cluster_port 70000 is out of range", "1024 to 65436"),
        (
            {"n1": GOOD},
            {"base_ntp_servers": "192.168.1.1"},
            "n1",
            "base_ntp_servers '192.168.1.1' is not a list",
            "[192.168.1.1]",
        ),
        (
            {"n1": {**GOOD, "ansible_port": 70000}},
            {},
            "n1",
            "ansible_port 70000 is out of range",
            "1 to 65535",
        ),
        ({"n1": GOOD}, {"raspberry_pi_reboot": "never"}, "n1", "'never' is neither true nor false", "true or false"),
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


def test_values_of_the_command_line_are_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").touch()
    hosts = {f"n{number}": {"ansible_host": f"10.78.0.{number}"} for number in range(11, 22)}
    played = validate(
        write_inventory(tmp_path, hosts), "-e", "base_ntp_servers=192.168.1.1", "-e", "cluster_port=70000"
    )
    said = " ".join(played.output.split())
    assert played.returncode != 0
    assert "n11, n12, n13 and 8 more: base_ntp_servers '192.168.1.1' is not a list" in said
    assert "n11, n12, n13 and 8 more: cluster_port 70000 is out of range" in said
    assert "PLAY [Provision" not in played.output


@pytest.mark.parametrize("playbook", ["site.yml", "check.yml", "reset.yml"])
def test_no_playbook_touches_what_a_bad_inventory_names(tmp_path: Path, playbook: str) -> None:
    (tmp_path / "known_hosts").touch()
    path = write_inventory(tmp_path, {"n1": GOOD}, node_root="/etc")
    played = play(playbook, path, "--check", "-e", "reset_confirmed=true")
    assert played.returncode != 0
    assert "'/etc' is not a directory of our own" in " ".join(played.output.split())
    assert played.output.count("PLAY [") == 1
