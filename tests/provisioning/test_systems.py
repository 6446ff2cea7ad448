"""Systems of nodes: a 32-bit one is refused before any node is changed, and packages are those of the architecture."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playbooks import play
from role_plugins import load_module

from harness.paths import REPOSITORY
from harness.system.packages import NODE_PACKAGES, read_packages

LOCAL = REPOSITORY / "inventory" / "local"
NODE_STATE = load_module("node/library/node_state.py")
# local-2 is the node in question; each node has a machine of its own, and is only told what it is.
SYSTEM = """
- hosts: local-1, local-2
  gather_facts: false
  vars:
    node_shared_machine: false
    states: STATES
    node_state: "{{ states[inventory_hostname] }}"
  tasks:
    - ansible.builtin.import_role: {name: node, tasks_from: system}
    - ansible.builtin.debug: {msg: here a node would be changed}
      changed_when: true
"""


def test_this_system_has_64_bits() -> None:
    assert NODE_STATE.python()["bits"] == 64 == (sys.maxsize + 1).bit_length()


@pytest.mark.parametrize(
    ("architecture", "bits", "fault"),
    [
        ("armv7l", 32, "local-2 has a 32-bit system (armv7l)"),
        ("aarch64", 32, "local-2 has a 64-bit kernel (aarch64) under a 32-bit system"),
        ("riscv64", 64, "local-2 is neither x86_64 nor aarch64 but riscv64"),
        ("aarch64", 64, ""),
    ],
)
def test_a_node_that_runs_nothing_of_ours_is_named_before_any_is_changed(
    tmp_path: Path, architecture: str, bits: int, fault: str
) -> None:
    states = {
        "local-1": {"architecture": "x86_64", "python": {"bits": 64}},
        "local-2": {"architecture": architecture, "python": {"bits": bits}},
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(SYSTEM.replace("STATES", json.dumps(states)), encoding="utf-8")
    played = play(str(playbook), LOCAL)
    said = " ".join(played.output.split())
    assert (played.returncode == 0, played.total("changed")) == ((False, 0) if fault else (True, 2)), played.output
    assert fault in said
    assert ("No node was changed. Try: a card with a 64-bit Debian" in said) == bool(fault)


def test_packages_are_those_of_the_architecture() -> None:
    lines = [line for path in NODE_PACKAGES for line in path.read_text(encoding="utf-8").splitlines()]
    listed = [line for line in lines if line and line[0] != "#"]
    for architecture in ("amd64", "arm64"):
        assert sorted(NODE_STATE.packages_of(architecture, listed)) == list(read_packages(NODE_PACKAGES, architecture))
    assert NODE_STATE.packages_of("i386", ["sudo", "fast [amd64]", "old [i386 armhf]"]) == ["sudo", "old"]


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="there is no dpkg")
def test_packages_of_another_architecture_are_not_missing() -> None:
    own = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
    wanted = [f"no-such-package [{own}]", "no-such-board [none]", "dpkg"]
    assert NODE_STATE.missing_packages(wanted) == ["no-such-package"]
