"""The password of sudo on the nodes: found as Ansible finds it, given to sudo alone, and shown to nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from agent import processes

from harness.contract import wire
from harness.errors import BadInputError, NodeError
from harness.nodes.agent import ask, request_to, sudo_fault
from harness.nodes.inventory import Node
from harness.nodes.local import LocalTransport
from harness.nodes.read_inventory import build_cluster, load_cluster

HOSTS = """\
nodes:
  hosts:
    named: {ansible_host: 192.0.2.1, ansible_become_password: "correct horse"}
    templated: {ansible_host: 192.0.2.2, ansible_become_pass: "{{ theirs | lower }}", theirs: TWO}
    earlier: {ansible_host: 192.0.2.3, ansible_sudo_pass: 3}
    otherwise: {ansible_host: 192.0.2.4, ansible_become_method: su, ansible_become_password: four}
    none: {ansible_host: 192.0.2.5}
    vaulted:
      ansible_host: 192.0.2.6
      ansible_become_password: !vault |
VAULTED
"""
FOUND = {"named": "correct horse", "templated": "two", "earlier": "3", "otherwise": None, "vaulted": "six"}
NODE = Node("a", "192.0.2.1", local=False, root="/opt/harness", become_password="hush")  # noqa: S106


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    secret = tmp_path / "vault-password"
    secret.write_text("open\n", encoding="utf-8")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(secret))
    command = [Path(sys.executable).with_name("ansible-vault"), "encrypt_string", "six"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    vaulted = "\n".join(f"        {line.strip()}" for line in done.stdout.splitlines()[1:])
    (tmp_path / "hosts.yml").write_text(HOSTS.replace("VAULTED", vaulted), encoding="utf-8")
    return tmp_path / "hosts.yml"


def test_it_is_found_where_ansible_finds_it(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = load_cluster(inventory)
    assert {node.name: node.become_password for node in cluster.nodes} == {**FOUND, "none": None}
    file = inventory.with_name("become-password")
    file.write_text("from a file\n", encoding="utf-8")
    monkeypatch.setenv("ANSIBLE_BECOME_PASSWORD_FILE", str(file))
    filed = {node.name: node.become_password for node in load_cluster(inventory).nodes}
    assert filed == {**FOUND, "none": "from a file"}


def test_one_that_is_typed_comes_where_ansible_has_it(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the inventory's, before the environment's and a file's."""
    monkeypatch.setenv("ANSIBLE_BECOME_PASS", "of the environment")
    assert load_cluster(inventory).nodes[4].become_password == "of the environment"  # noqa: S105
    monkeypatch.setenv("ANSIBLE_BECOME_PASSWORD_FILE", str(inventory.with_name("is-not-there")))
    cluster = load_cluster(inventory, "as typed")
    assert {node.name: node.become_password for node in cluster.nodes} == {**FOUND, "none": "as typed"}
    assert "as typed" not in repr(cluster)


@pytest.mark.parametrize(
    ("variable", "environment", "expected"),
    [("", {"ANSIBLE_BECOME_PASS": "env"}, " typed"), ("ansible_become_password=inventory", {}, "inventory")],
)
def test_ansible_has_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, environment: dict[str, str], expected: str
) -> None:
    """A program in sudo's place writes down what Ansible tells it."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ANSIBLE_BECOME_ALLOW_SAME_USER", "1")  # root may run the tests
    sudo = tmp_path / "sudo"
    sudo.write_text(
        '#!/bin/sh\nwhile [ "$1" != /bin/sh ]; do [ "$1" = -p ] && printf %s "$2"; shift; done\n'
        f'IFS= read -r word; printf %s "$word" > {tmp_path}/told; exec "$@"\n',
        encoding="utf-8",
    )
    sudo.chmod(0o755)
    hosts = tmp_path / "hosts"
    hosts.write_text(f"[nodes]\na ansible_host=192.0.2.1 ansible_become_exe={sudo} {variable}\n", encoding="utf-8")
    ansible = [Path(sys.executable).with_name("ansible"), "nodes", "-i", hosts, "-b", "-K", "-c", "local"]
    done = subprocess.run(  # without a terminal, -K asks on stdin
        [*ansible, "-m", "raw", "-a", "true"], input=" typed\n", capture_output=True, text=True, timeout=60,
        check=False, start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "told").read_text(encoding="utf-8") == expected
    assert load_cluster(hosts, " typed").nodes[0].become_password == expected


@pytest.mark.parametrize("given", [["hush"], "hush\nhush", "hush" * 200])
def test_one_that_is_none_is_refused_and_not_shown(given: object) -> None:
    with pytest.raises(BadInputError, match="host a: ansible_become_password is no text in one line") as caught:
        build_cluster(Path("/inventory"), {"a": {"ansible_host": "192.0.2.1", "ansible_become_password": given}})
    assert "hush" not in f"{caught.value} {caught.value.remedy}"


def test_only_an_agent_that_needs_sudo_is_told() -> None:
    assert request_to(NODE)[wire.SUDO_PASSWORD] == "hush"
    process = replace(NODE, supervisor="process")
    assert "hush" not in request_to(process).values()


def test_the_agent_tells_sudo_on_its_stdin_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    request = {wire.SUDO_PASSWORD: "correct horse"}
    assert processes.sudo(request, ["true"]) == ["sudo", "-S", "-k", "-p", "", "true"]
    assert processes.sudo({}, ["true"]) == ["sudo", "-n", "true"]
    with processes.sudo_input(request) as stdin:
        assert processes.run_command(["cat"], stdin).stdout == "correct horse\n"
    with processes.sudo_input({}) as stdin:
        assert processes.run_command(["cat"], stdin).stdout == ""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert processes.sudo(request, ["true"]) == ["true"]
    with processes.sudo_input(request) as stdin:
        assert processes.run_command(["cat"], stdin).stdout == ""


def test_a_password_that_is_missing_and_one_that_is_wrong_have_a_remedy() -> None:
    wrong, mend = sudo_fault(NODE, "sudo: 1 incorrect password attempt")
    assert wrong == "sudo refuses, with the password that it was given: sudo: 1 incorrect password attempt"
    assert "--ask-become-pass" in mend
    assert "ansible_become_password" in mend
    missing, give = sudo_fault(Node("a", "192.0.2.1", local=False, root="/r"), "")
    assert missing.startswith("sudo asks for a password")
    assert "--ask-become-pass (-K)" in give
    assert "ansible_become_password in a vault" in give


def test_what_an_agent_may_not_do_without_sudo_names_the_node(tmp_path: Path) -> None:
    says = tmp_path / "python"
    says.write_text(
        '#!/bin/sh\nread request\necho \'{"frame": "error", "error": "no", "sudo": false}\'\n', encoding="utf-8"
    )
    says.chmod(0o755)
    node = Node("a", "127.0.0.1", local=True, root=str(tmp_path), python=str(says))
    with pytest.raises(
        NodeError, match="a: sudo asks for a password, and without it no unit starts or stops: no"
    ) as caught:
        ask(LocalTransport(node), "code", wire.CLEAN)
    assert "--ask-become-pass" in caught.value.remedy
