"""The module of the playbooks that asks a node's own agent who holds it, run by itself as Ansible would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.launch.code import packaged_code
from harness.launch.hold import Hold, this_harness
from harness.nodes.inventory import Cluster, Node
from harness.nodes.session import Session
from harness.paths import ANSIBLE

NODE = "n1"


def used(root: Path, **environment: str) -> dict[str, Any]:
    """What the module answers of a node with this root."""
    asked = root.with_name("asked.json")
    asked.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {"root": str(root), "node": NODE}}), encoding="utf-8")
    command = [sys.executable, str(ANSIBLE / "roles" / "node" / "library" / "node_use.py"), str(asked)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **environment}
    )
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def agent(root: Path, name: str, text: str) -> Path:
    """The directory of code of an agent that prints the value of this expression, as if a harness had sent it."""
    directory = root / "code" / name
    (directory / "agent").mkdir(parents=True)
    (directory / "agent" / "__main__.py").write_text(
        f"import sys\nsys.stdin.readline()\nprint({text})\n", encoding="utf-8"
    )
    return directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "harness"


def test_a_node_to_which_no_code_was_sent_is_free(root: Path) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    for _ in range(2):
        found = used(root)
        assert (found["held"], found["boot_id"], found["changed"]) == (None, boot, False)
        (root / "code").mkdir(parents=True, exist_ok=True)


def test_a_held_node_names_its_holder(root: Path, tmp_path: Path) -> None:
    node = Node(NODE, "127.0.0.1", local=True, root=str(root), supervisor="process", python=sys.executable)
    code = packaged_code()
    with Session(Cluster(tmp_path, "local", (node,))) as session:
        code.send(session.to(node))
        with Hold(session, (node,), code.hash, "lenet-42"):
            held = used(root)["held"]
        assert (held["run"], held["harness"]) == ("lenet-42", this_harness())
        assert used(root)["held"] is None


def test_the_agent_that_was_sent_last_is_asked(root: Path, tmp_path: Path) -> None:
    (tmp_path / "stranger.py").touch()
    agent(root, "ffffffff", repr(json.dumps({"held": {"run": "old"}})))
    agent(
        root,
        "00000000",
        "__import__('json').dumps({'held': {'run': str(__import__('importlib.util').util.find_spec('stranger'))}})",
    )
    agent(root, "11111111.partial", repr("half of one"))
    (root / "code" / "22222222").mkdir()
    assert used(root, PYTHONPATH=str(tmp_path))["held"] == {"run": "None"}  # which is asked apart from the environment


@pytest.mark.parametrize("answer", ["", "Traceback", "[]", "3", '{"error": "no"}'])
def test_a_node_whose_agent_does_not_say_is_not_taken_for_free(root: Path, answer: str) -> None:
    agent(root, "ffffffff", repr(answer))
    found = used(root)
    assert found["failed"]
    assert found["msg"] == f"{NODE}: its agent does not say who holds it: {answer or 'nothing'}. Try: harness status"
