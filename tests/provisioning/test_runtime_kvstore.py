"""Whose parameter servers a runtime gets as its default."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.paths import ANSIBLE

# As image_base does it: of the node only its card is there, and the play's hosts have no state.
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - vars:
        node_state: {architecture: ARCHITECTURE, python: {series: "3.11", tag: cp311}}
      block:
        - ansible.builtin.include_vars: ROLE/defaults/main.yml
        - ansible.builtin.debug: {msg: "serves={{ runtime_kvstore }}"}
"""


def default_of(directory: Path, architecture: str, **given: Any) -> str:
    playbook = directory / "play.yml"
    text = PLAYBOOK.replace("ARCHITECTURE", architecture).replace("ROLE", str(ANSIBLE / "roles" / "runtime"))
    playbook.write_text(text, encoding="utf-8")
    command = [
        Path(sys.executable).with_name("ansible-playbook"),
        "-i",
        "localhost,",
        playbook,
        "-e",
        json.dumps(given),
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=directory, env=kept)
    assert done.returncode == 0, done.stdout
    return done.stdout.partition("serves=")[2].partition('"')[0]


@pytest.mark.parametrize(
    ("architecture", "given", "serves"),
    [
        ("aarch64", {}, "native"),
        ("aarch64", {"runtime_mxnet_wheel": "mine.whl"}, "mxnet"),
        ("x86_64", {}, "mxnet"),
    ],
)
def test_a_card_gets_native_servers_where_its_mxnet_has_none(
    tmp_path: Path, architecture: str, given: dict[str, str], serves: str
) -> None:
    assert default_of(tmp_path, architecture, **given) == serves
