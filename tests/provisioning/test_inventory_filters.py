"""What the filters of role validate_inventory say of directories, addresses and values; pure, without Ansible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from role_plugins import load_plugin

from harness.paths import ANSIBLE

INVENTORY = load_plugin("validate_inventory/filter_plugins/inventory_faults.py")
VARIABLES = load_plugin("validate_inventory/filter_plugins/variable_faults.py")
OPTIONS = VARIABLES.role_options(str(ANSIBLE / "roles"))


def inventory_faults(**changes: Any) -> list[str]:
    node = {
        "name": "n1",
        "address": "10.78.0.1",
        "root": "/opt/harness",
        "connection": "local",
        "shared": True,
        **changes,
    }
    return list(INVENTORY.inventory_faults([node]))


@pytest.mark.parametrize(
    "root",
    [
        "/", "//", "/etc", "/etc/", "//etc", "/etc/harness", "/usr/local/harness", "/boot", "/home", "/home/pi", "/home/pi/",
        "/root", "/opt", "/var", "/var/lib", "/var/log", "/tmp", "/opt/../etc", "/opt/harness/..", "/run/harness",  # noqa: S108
        "/dev/shm/harness", "~", "~/", "~pi", "~/..", "~/x/..", "opt/harness", ".", "", "{{ nothing }}",  # noqa: S108
    ],
)  # fmt: skip
def test_directory_of_the_system_or_of_others_is_no_root(root: str) -> None:
    (fault,) = inventory_faults(root=root)
    assert fault.startswith(f"n1: node_root '{root}' is not a directory of our own: ")
    assert "Try: /opt/harness" in fault


@pytest.mark.parametrize(
    "root",
    [
        "/opt/harness", "/opt/harness/", "/srv/cluster", "/home/pi/harness", "/var/lib/harness", "/mnt/ssd/harness",
        "~/harness", "/data",
    ],
)  # fmt: skip
def test_directory_of_our_own_is_a_root(root: str) -> None:
    assert inventory_faults(root=root) == []


def test_home_of_whoever_runs_ansible_is_not_a_place_on_another_machine(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").touch()
    known = str(tmp_path / "known_hosts")
    (fault,) = inventory_faults(root="~/harness", connection="ssh", shared=False, known_hosts=known)
    assert "another directory for root" in fault


@pytest.mark.parametrize("address", ["fd00::1", "::1", "2001:db8::7", "::ffff:10.78.0.1", "fe80::1%eth0"])
def test_address_of_ip_version_6_is_refused_at_once(address: str) -> None:
    (fault,) = inventory_faults(address=address)
    assert f"n1: ansible_host '{address}' is IPv6" in fault
    assert "Try: the node's IPv4 address" in fault


def variable_faults(name: str, value: Any, hosts: int = 1) -> list[str]:
    values = {f"n{number}": {name: value} for number in range(1, hosts + 1)}
    bounds = {
        "cluster_port": {"minimum": 1024, "maximum": 65436},
        "firewall_ssh_port": {"minimum": 1, "maximum": 65535},
    }
    return list(VARIABLES.variable_faults(values, OPTIONS, bounds, ["firewall_ssh_sources"]))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("base_ntp_servers", "192.168.1.1", "base_ntp_servers '192.168.1.1' is not a list. Try: base_ntp_servers: [1"),
        ("base_ntp_servers", None, "base_ntp_servers is empty"),
        ("firewall_ssh_sources", ["10.0.0.0/33"], "'10.0.0.0/33' is not an IP network"),
        ("firewall_ssh_sources", ["controller.lan"], "'controller.lan' is not an IP network"),
        ("firewall_ssh_sources", [["10.0.0.0/8"]], "is not text"),
        ("cluster_port", 70000, "cluster_port 70000 is out of range. Try: 1024 to 65436"),
        ("cluster_port", "70000", "cluster_port 70000 is out of range"),
        ("cluster_port", 65437, "out of range"),
        ("cluster_port", 80, "out of range"),
        ("cluster_port", "9091/tcp", "cluster_port '9091/tcp' is not a whole number"),
        ("cluster_port", "", "cluster_port '' is not a whole number"),
        ("cluster_port", 9091.5, "is not a whole number"),
        ("cluster_port", True, "is not a whole number"),
        ("network_peer_seconds", -1, "network_peer_seconds -1 is out of range. Try: 0 or more"),
        ("cluster_time_dilation", ".nan", "is not a number"),
        ("cluster_time_dilation", float("inf"), "is not a number"),
        ("node_shared_machine", "maybe", "node_shared_machine 'maybe' is neither true nor false"),
        ("network_sysctl", ["a"], "network_sysctl '['a']' is not a mapping"),
        ("cluster_kind", "cloud", "cluster_kind 'cloud' is unknown. Try: local, virtual, emulated, pi"),
        ("cluster_link", "radio", "cluster_link 'radio' is unknown. Try: cable, wifi"),
        ("ansible_user", ["pi"], "is not text"),
        ("ansible_port", "ssh", "ansible_port 'ssh' is not a whole number"),
    ],
)  # fmt: skip
def test_value_of_another_type_or_range_is_told(name: str, value: Any, told: str) -> None:
    (fault,) = variable_faults(name, value)
    assert fault.startswith("n1: ")
    assert told in fault
    assert "Try: " in fault


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_ntp_servers", []), ("base_ntp_servers", ["192.168.1.1"]), ("cluster_port", 9091), ("cluster_port", "9091"),
        ("firewall_ssh_sources", ["10.0.0.1", "10.0.0.0/8", "::/0"]), ("node_shared_machine", "yes"),
        ("node_shared_machine", False),
        ("cluster_time_dilation", "2.5"), ("network_sysctl", {}), ("cluster_kind", "pi"), ("not_of_ours", {"any": "thing"}),
    ],
)  # fmt: skip
def test_right_value_is_accepted(name: str, value: Any) -> None:
    assert variable_faults(name, value) == []


def test_one_mistake_of_many_hosts_is_told_once() -> None:
    assert variable_faults("cluster_port", 0, hosts=11) == [
        "n1, n2, n3 and 8 more: cluster_port 0 is out of range. Try: 1024 to 65436"
    ]


@pytest.mark.parametrize(
    ("address", "networks", "let_in"),
    [
        ("10.0.0.7", ["10.0.0.0/24"], True), ("10.0.1.7", ["10.0.0.0/24"], False), ("10.0.0.7", ["10.0.0.7"], True),
        ("::ffff:10.0.0.7", ["10.0.0.0/24"], True), ("fd00::1", ["0.0.0.0/0"], False), ("fd00::1", ["0.0.0.0/0", "::/0"], True),
        ("10.0.0.7", [], False), ("10.0.0.7", ["10.0.0.1/24"], True),
    ],
)  # fmt: skip
def test_firewall_lets_in_whom_its_networks_hold(address: str, networks: list[str], let_in: bool) -> None:
    firewall = load_plugin("firewall/filter_plugins/firewall.py")
    assert firewall.firewall_lets_in(address, networks) is let_in
