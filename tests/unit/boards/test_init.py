"""`harness init` against SSH servers on loopback: what it finds, pins, writes, and refuses."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest
import zeroconf
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import HarnessError
from harness.nodes.read_inventory import load_cluster

ADDRESSES = "127.0.19.1", "127.0.19.2"


class Boards:
    """SSH servers on one port of several addresses, each with a key of its own."""

    def __init__(self) -> None:
        first = socket.create_server((ADDRESSES[0], 0))
        self.port = first.getsockname()[1]
        self._sockets = [first, *(socket.create_server((each, self.port)) for each in ADDRESSES[1:])]
        self.keys = [paramiko.ECDSAKey.generate() for _ in ADDRESSES]
        self._transports: list[paramiko.Transport] = []
        for listener, key in zip(self._sockets, self.keys, strict=True):
            threading.Thread(target=self._serve, args=(listener, key), daemon=True).start()

    def _serve(self, listener: socket.socket, key: paramiko.PKey) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            self._transports.append(transport)
            transport.start_server(event=threading.Event(), server=paramiko.ServerInterface())

    def close(self) -> None:
        for each in self._sockets:
            each.shutdown(socket.SHUT_RDWR)
            each.close()
        for transport in self._transports:
            transport.close()


@pytest.fixture(scope="module")
def boards() -> Iterator[Boards]:
    servers = Boards()
    yield servers
    servers.close()


def init(*words: object) -> tuple[int, str]:
    """The exit code, and all that was printed."""
    done = CliRunner().invoke(app, ["init", *map(str, words)])
    error = done.exception
    if isinstance(error, HarnessError):
        return error.exit_code, f"{done.output}{error.message} {error.remedy}"
    return done.exit_code, done.output


def test_boards_are_found_pinned_and_written(boards: Boards, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    code, said = init(target, "--find", "127.0.19.0/29", "--port", boards.port, "--user", "me", "--yes")
    assert code == 0, said
    for address, key in zip(ADDRESSES, boards.keys, strict=True):
        assert (
            f"[{address}]:{boards.port} {key.get_name()} {key.get_base64()}\n" in (target / "known_hosts").read_text()
        )
        assert key.fingerprint in said
    assert f"harness provision -i {target}" in said
    assert [(each.name, each.address) for each in load_cluster(target).nodes] == [
        ("pi01", ADDRESSES[0]),
        ("pi02", ADDRESSES[1]),
    ]
    assert "pi01 is this machine" in said


@contextmanager
def announcing(*hosts: tuple[str, str]) -> Iterator[None]:
    """Host names that are announced with an address each, by multicast DNS on loopback."""
    responder = zeroconf.Zeroconf(interfaces=["127.0.0.1"], ip_version=zeroconf.IPVersion.V4Only)
    for host, address in hosts:
        name, data = f"{host}._ssh._tcp.local.", [socket.inet_aton(address)]
        responder.register_service(
            zeroconf.ServiceInfo("_ssh._tcp.local.", name, 22, addresses=data, server=f"{host}.")
        )
    try:
        yield
    finally:
        responder.close()


def test_boards_that_announce_themselves_keep_their_names(boards: Boards, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    asked = ["--find", "127.0.0.0/8", "--mdns", "--port", boards.port, "--yes"]
    with announcing(("attic.local", ADDRESSES[0]), ("Kitchen.local", ADDRESSES[1]), ("off.local", "127.0.19.9")):
        code, said = init(target, *asked, "--node", "head=attic.local")
        missing, why = init(tmp_path / "other", *asked, "--node", "cellar.local")
    assert code == 0, said
    assert f"{ADDRESSES[1]}: kitchen, an SSH server" in said
    assert [(each.name, each.address) for each in load_cluster(target).nodes] == [
        ("head", ADDRESSES[0]),
        ("kitchen", ADDRESSES[1]),
    ]
    assert (missing, "cellar: nobody in 127.0.0.0/8 answers to cellar.local" in why) == (3, True)
    code, said = init(tmp_path / "other", "--mdns", "--node", "attic.local", "--yes")
    assert (code, "--find" in said) == (2, True)


def test_keys_that_nobody_has_seen_are_not_believed(boards: Boards, tmp_path: Path) -> None:
    code, said = init(tmp_path / "mine", "--node", ADDRESSES[0], "--port", boards.port)
    assert code == 2
    assert "--yes" in said
    assert list(tmp_path.iterdir()) == []


def test_a_board_that_does_not_answer_is_named_and_nothing_is_written(boards: Boards, tmp_path: Path) -> None:
    code, said = init(tmp_path / "mine", "--node", f"{ADDRESSES[0]},attic=127.0.19.9", "--port", boards.port, "--yes")
    assert code == 3
    assert "attic (127.0.19.9)" in said
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("mine\n")
    code, said = init(tmp_path, "--node", "10.0.0.1", "--no-host-keys")
    assert code == 2
    assert "is there already" in said
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("hosts.yml", "mine\n")]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    code, said = init(tmp_path / "mine", "--node", "head=127.0.0.1,pi02=10.0.0.2", "--no-host-keys", "--dry-run")
    assert code == 0
    assert 'head: {ansible_host: "127.0.0.1", ansible_connection: local}' in said
    assert list(tmp_path.iterdir()) == []


def test_without_a_board_there_is_no_inventory(tmp_path: Path) -> None:
    code, said = init(tmp_path / "mine", "--yes")
    assert code == 2
    assert "--node" in said
