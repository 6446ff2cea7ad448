"""SSH to nodes that misbehave: a server of our own on loopback, and no wait without an end."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from harness.errors import NodeError
from harness.nodes import ssh
from harness.nodes.agent import in_homes
from harness.nodes.inventory import Cluster, Node
from harness.nodes.session import Session
from harness.nodes.ssh import SshTransport

ADDRESS = "127.0.18.1"
ANSWER = b'{"frame": "fine"}\n'


class Server(paramiko.ServerInterface):
    """Lets everybody in; runs nothing."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.common.AUTH_SUCCESSFUL  # type: ignore[no-any-return]

    def check_channel_request(self, kind: str, chanid: int) -> int:
        self._board.sessions += 1
        if self._board.sessions > self._board.most_sessions:
            return paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED  # type: ignore[no-any-return]
        return paramiko.common.OPEN_SUCCEEDED  # type: ignore[no-any-return]

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if self._board.says is None:
            self._board.over.wait(30)
            return False
        threading.Thread(target=self._board.answer, args=(channel,), daemon=True).start()
        return True


class Board:
    """A node whose SSH server answers commands with `says`, a piece every `pause`; None for no answer at all."""

    def __init__(self, directory: Path) -> None:
        self.says: list[bytes] | None = [ANSWER]
        self.pause = 0.0
        self.most_sessions = 10
        self.sessions = 0
        self.over = threading.Event()
        self._key = paramiko.ECDSAKey.generate()
        self._socket = socket.create_server((ADDRESS, 0))
        self._transports: list[paramiko.Transport] = []
        port = self._socket.getsockname()[1]
        known = directory / "known_hosts"
        known.write_text(f"[{ADDRESS}]:{port} {self._key.get_name()} {self._key.get_base64()}\n", encoding="ascii")
        paramiko.ECDSAKey.generate().write_private_key_file(str(directory / "key"))
        self.node = Node(
            "a", ADDRESS, False, "/nowhere", "process", "pi", port, str(directory / "key"), str(known), sys.executable
        )
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self._key)
            self._transports.append(transport)
            transport.start_server(server=Server(self))

    def answer(self, channel: paramiko.Channel) -> None:
        time.sleep(0.1)
        with contextlib.suppress(OSError):  # whoever was to hear it may have gone
            for piece in self.says or ():
                channel.sendall(piece)
                if self.over.wait(self.pause):
                    return
            channel.send_exit_status(0)
            channel.close()

    def cut(self) -> None:
        """Drop every connection as a board that loses its power does not: at once."""
        for transport in self._transports:
            transport.sock.close()

    def close(self) -> None:
        self.over.set()
        self._socket.close()
        for transport in self._transports:
            transport.close()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    made = Board(tmp_path)
    yield made
    made.close()


def ask(board: Board, timeout: float = 5.0) -> object:
    transport = SshTransport(board.node)
    try:
        return transport.request(["true"], {}, timeout=timeout)
    finally:
        transport.close()


def test_a_node_that_never_runs_the_command_has_a_limit(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "CONNECT_TIMEOUT_SECONDS", 1)
    board.says = None
    began = time.monotonic()
    with pytest.raises(NodeError, match="cannot start a command: no answer within 1 s"):
        ask(board)
    assert time.monotonic() - began < 8


def test_a_node_that_sends_a_byte_now_and_then_has_a_limit(board: Board) -> None:
    board.says, board.pause = [b"x"] * 100, 0.3
    began = time.monotonic()
    with pytest.raises(NodeError, match="no answer within 1 s"):
        ask(board, timeout=1)
    assert time.monotonic() - began < 8


def test_a_login_shell_that_prints_is_skipped(board: Board) -> None:
    board.says = [b"Welcome to this board\nYou have mail\n", ANSWER]
    assert ask(board) == {"frame": "fine"}


def test_a_login_shell_that_only_prints_is_named(board: Board) -> None:
    board.says = [b"This account is currently not available.\n"]
    with pytest.raises(NodeError, match="not available") as caught:
        ask(board)
    assert ".bashrc" in caught.value.remedy


def test_too_few_sessions_are_counted_and_do_not_cost_the_connection(board: Board) -> None:
    board.most_sessions = 2
    transport = SshTransport(board.node)
    assert transport.sessions(4) == 2
    board.sessions = 1
    stream = transport.open(["true"])
    with pytest.raises(NodeError, match="no further session") as caught:
        transport.open(["true"])
    assert "MaxSessions" in caught.value.remedy
    assert stream.read_frame(5) == ({"frame": "fine"}, b"")
    transport.close()


def test_paramiko_prints_nothing_of_its_own(board: Board, tmp_path: Path) -> None:
    """The port answers and is no SSH server; and a connection is cut: neither shows a traceback."""
    program = (
        "import sys, socket, threading\n"
        "from dataclasses import replace\n"
        "from harness.nodes.inventory import Node\n"
        "from harness.nodes.ssh import SshTransport\n"
        "from harness.errors import NodeError\n"
        "server = socket.create_server(('127.0.18.2', 0))\n"
        "def serve():\n"
        "    while True:\n"
        "        c, _ = server.accept(); c.sendall(b'HTTP/1.1 400 Bad Request\\r\\n' * 200); c.close()\n"
        "threading.Thread(target=serve, daemon=True).start()\n"
        "node = Node('a', '127.0.18.2', False, '/', 'process', 'pi', server.getsockname()[1], known_hosts=sys.argv[1])\n"
        "try: SshTransport(node).open(['true'])\n"
        "except NodeError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "known_hosts")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "a: cannot be reached at 127.0.18.2" in done.stdout
    assert done.stderr == ""


def test_a_root_in_the_users_home_is_where_the_node_says(board: Board) -> None:
    node = replace(board.node, root="~/.local/share/harness-launch")
    with Session(Cluster(Path("hosts"), "hostfile", (node,))) as session:
        board.says = [b'{"home": "/home/pi"}\n']
        (found,) = in_homes(session, [node])
        assert found.root == "/home/pi/.local/share/harness-launch"
        assert session.to(found).node == found
        assert in_homes(session, [found, replace(node, name="b", root="/opt/harness")])[1].root == "/opt/harness"
        board.says = [b'{"home": "~"}\n']
        with pytest.raises(NodeError, match="its user pi has no home"):
            in_homes(session, [node])
