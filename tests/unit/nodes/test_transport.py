"""Commands reach a node as they are, and every wait has an end."""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
import time

import pytest
from launch_parts import NODES

from harness.errors import NodeError
from harness.nodes import local, session
from harness.nodes.inventory import Node
from harness.nodes.local import LocalTransport
from harness.nodes.session import on_all
from harness.nodes.transport import transfer_seconds

HOSTILE = ["a b", "$(touch pwned)", "; ls", "'", '"', "`id`", "*", "~", "-n", "", "new\nline", "\\", "é", "#", "!!"]
ECHO = "import sys, json; print(json.dumps({'arguments': sys.argv[1:]}))"


def test_arguments_arrive_as_they_are() -> None:
    answer = LocalTransport(NODES[0]).request([sys.executable, "-c", ECHO, *HOSTILE], {})
    assert answer == {"arguments": HOSTILE}


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_nodes_login_shell_takes_the_quoted_command_apart_again(shell: str) -> None:
    # SSH knows strings only: this is how the vector is written into one, and what sshd does with it.
    command = shlex.join([sys.executable, "-c", ECHO, *HOSTILE])
    done = subprocess.run([shell, "-c", command], capture_output=True, check=True)
    import json

    assert json.loads(done.stdout) == {"arguments": HOSTILE}


def test_no_answer_in_time() -> None:
    began = time.monotonic()
    with pytest.raises(NodeError, match="a: no answer within 1 s"):
        LocalTransport(NODES[0]).request([sys.executable, "-c", "import sys; sys.stdin.read()"], {}, timeout=1)
    assert time.monotonic() - began < 5


def test_what_a_command_says_to_stderr_is_told() -> None:
    with pytest.raises(NodeError, match="boom"):
        LocalTransport(NODES[0]).request([sys.executable, "-c", "import sys; sys.exit('boom')"], {})


def test_all_nodes_at_once_in_order_with_their_errors() -> None:
    def action(node: Node) -> str:
        if node.name == "b":
            raise NodeError("b", "is off")
        return node.name

    answers = [answer if isinstance(answer, str) else str(answer) for _, answer in on_all(NODES, action)]
    assert answers == ["a", "b: is off", "c"]


def test_a_node_that_hangs_is_not_waited_for() -> None:
    release = threading.Event()

    def action(node: Node) -> str:
        if node.name == "b":
            release.wait(30)
        return node.name

    began = time.monotonic()
    answers = [str(answer) for _, answer in on_all(NODES, action, {"b": 0.5})]
    assert answers == ["a", "b: no answer within 0 s", "c"]
    assert time.monotonic() - began < 5
    release.set()


def test_a_fault_of_our_own_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        list(on_all(NODES, lambda _: 1 / 0))


def test_a_command_that_reads_nothing_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "transfer_seconds", lambda _: 0.5)
    began = time.monotonic()
    with pytest.raises(NodeError, match="did not take"):
        LocalTransport(NODES[0]).request(["sleep", "30"], {}, payload=b"x" * (4 << 20))
    assert time.monotonic() - began < 10


def test_who_takes_much_has_longer() -> None:
    assert transfer_seconds(100 << 20) == transfer_seconds(0) + 400


def test_every_call_on_all_nodes_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "ANSWER_SECONDS", 0.3)
    release = threading.Event()
    answers = [str(answer) for _, answer in on_all(NODES[:1], lambda _: release.wait(30))]
    assert answers == ["a: no answer within 0 s"]
    release.set()


def test_a_byte_now_and_then_is_no_answer() -> None:
    drip = "import sys, time\nwhile True: sys.stdout.write('x'); sys.stdout.flush(); time.sleep(0.2)"
    began = time.monotonic()
    with pytest.raises(NodeError, match="a: no answer within 1 s"):
        LocalTransport(NODES[0]).request([sys.executable, "-c", drip], {}, timeout=1)
    assert time.monotonic() - began < 8
