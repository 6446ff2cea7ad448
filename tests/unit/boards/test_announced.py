"""Boards that announce themselves, against a responder on loopback: what is heard, what is taken, and what is refused."""

from __future__ import annotations

import socket
import sys
import threading
import tomllib
from collections.abc import Iterator

import pytest
import zeroconf

from harness.boards import announced
from harness.boards.announced import Announced, announced_boards
from harness.boards.board import names_of
from harness.errors import BadInputError
from harness.paths import REPOSITORY


@pytest.fixture(scope="module")
def _responder() -> Iterator[None]:
    """Announces an SSH server, a workstation and a service that is not asked for; one of them lies in another network."""
    said = (
        ("_ssh._tcp.local.", "Kitchen pi", "pi01.local.", "127.0.19.1"),
        ("_workstation._tcp.local.", "pi02 [b8:27:eb:01:02:03]", "pi02.local.", "127.0.19.2"),
        ("_ssh._tcp.local.", "elsewhere", "away.local.", "192.0.2.7"),
        ("_ipp._tcp.local.", "printer", "printer.local.", "127.0.19.3"),
        ("_ipp._tcp.local.", "a board of the factory", "raspberrypi.local.", "127.0.19.4"),
    )
    services = [
        zeroconf.ServiceInfo(kind, f"{name}.{kind}", addresses=[socket.inet_aton(address)], port=22, server=host)
        for kind, name, host, address in said
    ]
    responder = zeroconf.Zeroconf(interfaces=["127.0.0.1"], ip_version=zeroconf.IPVersion.V4Only)
    for each in services:
        responder.register_service(each)
    yield
    responder.close()


@pytest.mark.usefixtures("_responder")
def test_who_announces_itself_in_the_network_is_heard_and_nobody_else() -> None:
    usual = [
        Announced("pi01.local", "127.0.19.1"),
        Announced("pi02.local", "127.0.19.2"),
        Announced("raspberrypi.local", "127.0.19.4"),
    ]
    assert announced_boards("127.0.0.0/8") == usual
    named = announced_boards("127.0.0.0/8", ["printer.local", "nobody.local"])
    assert named == [*usual[:2], Announced("printer.local", "127.0.19.3"), usual[2]]


@pytest.fixture
def _silent_board() -> Iterator[None]:
    """Announces nothing, and says whose address 127.0.0.9 is once it has been asked for the second time."""
    group = ("224.0.0.251", 5353)
    asked = 0

    def answer(heard: bytes) -> None:
        nonlocal asked
        for question in zeroconf.DNSIncoming(heard).questions:
            if question.name == "9.0.0.127.in-addr.arpa." and (asked := asked + 1) > 1:
                said = zeroconf.DNSOutgoing(0x8400)
                said.add_answer_at_time(zeroconf.DNSPointer(question.name, 12, 1, 120, "kitchen.local."), 0)
                for packet in said.packets():
                    board.sendto(packet, group)

    def serve() -> None:
        while heard := board.recv(9000):
            answer(heard)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as board:
        own = socket.inet_aton("127.0.0.1")
        board.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        board.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        board.bind(group)
        board.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group[0]) + own)
        board.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        serving = threading.Thread(target=serve)
        serving.start()
        yield
        board.sendto(b"", group)
        serving.join()


@pytest.mark.usefixtures("_silent_board")
def test_a_board_that_announces_nothing_is_asked_by_its_address() -> None:
    assert announced_boards("127.0.0.0/24") == [Announced("kitchen.local", "127.0.0.9")]


def test_a_network_that_this_machine_is_not_in_is_not_asked() -> None:
    with pytest.raises(BadInputError, match=r"no address in 240\.0\.0\.0/24"):
        announced_boards("240.0.0.0/24")  # reserved: no machine has one of these


def test_without_the_library_its_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(BadInputError, match="not installed: zeroconf") as caught:
        announced_boards("127.0.0.0/8")
    assert caught.value.remedy.endswith(f"pip install '{announced.REQUIREMENT}'")
    assert REPOSITORY is not None
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["optional-dependencies"]["mdns"] == [announced.REQUIREMENT]


def test_names_that_are_unfit_or_come_twice_are_none() -> None:
    assert names_of(["Pi01.local", "a b.local", "x.local", "X.local", "$(id).local"]) == ["pi01", "", "", "", ""]
