"""The command that leads to a port of a node's loopback address, as OpenSSH itself understands it."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from harness.nodes.connection.login import Login, parse_settings
from harness.nodes.connection.tunnel import tunnel
from harness.nodes.inventory import Node


def node(login: Login | None = None, local: bool = False, **values: object) -> Node:
    return Node("pi01", "192.0.2.11", local, "/opt/harness", user="pi", login=login, **values)  # type: ignore[arg-type]


def understood(command: str) -> dict[str, list[str]]:
    """What OpenSSH makes of a command."""
    program, *words = shlex.split(command)
    done = subprocess.run([program, "-G", *words], capture_output=True, text=True, timeout=20, check=True)
    return parse_settings(done.stdout)


def test_a_node_that_is_this_machine_needs_none() -> None:
    assert tunnel(node(local=True), 8787) is None


def test_it_logs_in_as_the_harness_does(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch()
    login = Login(
        "pi01", "192.0.2.11", port=2222, user="pi", keys=(str(key), str(tmp_path / "absent")), only_these_keys=True,
        known_hosts=(str(tmp_path / "known hosts"),), known_as="the-rack", password="hunter2",  # noqa: S106
    )  # fmt: skip
    command = tunnel(node(login), 8787)
    assert command is not None
    assert "hunter2" not in command
    said = understood(command)
    expected = {
        "localforward": "[127.0.0.1]:8787 [127.0.0.1]:8787", "port": "2222", "user": "pi", "identityfile": str(key),
        "identitiesonly": "yes", "hostkeyalias": "the-rack", "sessiontype": "none",
    }  # fmt: skip
    assert {name: said[name][0] for name in expected} == expected
    assert len(said["identityfile"]) == 1
    assert str(tmp_path / "known hosts") in said["userknownhostsfile"][0]
    assert command.endswith(" pi@pi01")


@pytest.mark.parametrize("here", [None, 9999])
def test_a_node_of_no_inventory_of_ansible_s(here: int | None) -> None:
    command = tunnel(node(ssh_port=22, known_hosts="/pinned"), 8788, here)
    assert command is not None
    said = understood(command)
    assert said["localforward"] == [f"[127.0.0.1]:{here or 8788} [127.0.0.1]:8788"]
    assert said["userknownhostsfile"] == ["/pinned"]
    assert said["hostname"] == ["192.0.2.11"]


def test_a_bastion_is_gone_through() -> None:
    proxy = ("/usr/bin/ssh", "-W", "[192.0.2.11]:22", "bastion")
    command = tunnel(node(Login("pi01", "192.0.2.11", user="pi", proxy=proxy)), 8787)
    assert command is not None
    assert understood(command)["proxycommand"] == ["/usr/bin/ssh -W '[192.0.2.11]:22' bastion"]


def test_only_the_connection_is_inside_a_network_namespace(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch()
    command = tunnel(node(key_file=str(key), known_hosts="/pinned"), 8787, namespace="hv-x-c")
    assert command is not None
    proxy = understood(command)["proxycommand"][0]
    assert command.startswith("ssh -N -L")
    inner = shlex.split(proxy)
    assert inner[:5] == ["ip", "netns", "exec", "hv-x-c", "ssh"]
    assert inner[-3:] == ["-W", "127.0.0.1:22", "pi@192.0.2.11"]
    assert understood(shlex.join(inner[4:]))["identityfile"] == [str(key)]
