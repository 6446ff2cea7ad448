"""One medium for three stations, for real: who gets how much of it, what gets lost, and the way back to cables."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from conftest import require_virtual

from harness.errors import ClusterError
from harness.nodes import namespace
from harness.virtual import wiring
from harness.virtual.blueprint import Blueprint, Options
from harness.virtual.host import cgroup, medium, network
from harness.virtual.host.machine import Machine
from harness.virtual.host.names import controller_namespace, prefix, switch_namespace
from harness.virtual.link import read_link

NAME = f"w{os.getpid():x}"
SUBNET = "10.97.0.0/24"
PORT = 5001
RATE = 30e6
TCP_SHARE = 1448 / 1514
"""Of a full frame, what is data."""
RECEIVE_BUFFER_FORCED = 33  # SO_RCVBUFFORCE, which Python does not name
Result = TypeVar("Result")

pytestmark = pytest.mark.virtual


class Stations:
    """Three nodes without systems, and the controller: their namespaces and their links."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._hierarchies = cgroup.find_hierarchies()

    def link(self, text: str, nodes: int = 3, dilation: float = 1.0) -> list[str]:
        """Bring the links to what `--link` says."""
        blueprint = Blueprint.of(Options(NAME, nodes=nodes, link=text, subnet=SUBNET, dilation=dilation))
        medium.require(blueprint.link)
        network.ensure_switch(NAME, blueprint.addresses, "none", None)
        machines = [
            Machine(node, self._directory / node.name, cgroup.NodeGroup(self._hierarchies, prefix(NAME), node.name))
            for node in blueprint.nodes
        ]
        return wiring.ensure(blueprint, machines)

    @staticmethod
    def inside(number: int | None, function: Callable[[], Result]) -> Result:
        """What `function` returns inside the namespace of a node, or of the controller (None)."""
        results: list[Result] = []
        end = controller_namespace(NAME) if number is None else f"{prefix(NAME)}-n{number:02d}"

        def work() -> None:
            namespace.enter_network_namespace(end)
            results.append(function())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(60)
        return results[0]


@pytest.fixture(scope="module")
def stations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stations]:
    require_virtual()
    try:
        medium.require(read_link("wifi:loss=1%"))
    except ClusterError as error:
        pytest.skip(f"this kernel has no shared medium: {error.message}")
    try:
        yield Stations(tmp_path_factory.mktemp("stations"))
    finally:
        for name in network.namespaces_of(NAME):
            network.remove_namespace(name)


def address(number: int | None) -> str:
    return f"10.97.0.{254 if number is None else number}"


def listen(number: int | None) -> socket.socket:
    return Stations.inside(number, lambda: socket.create_server((address(number), 0)))


def connect(number: int | None, server: socket.socket) -> socket.socket:
    """A connection by TCP as boards have it, not by what this machine prefers: bbr sends less than there is room for."""
    end = Stations.inside(number, lambda: socket.create_connection(server.getsockname(), 10))
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    return end


def send(end: socket.socket) -> None:
    """Send until the other side has seen enough."""
    end.settimeout(10)
    with end, contextlib.suppress(OSError):
        while True:
            end.sendall(bytes(1 << 14))


def receive(head: socket.socket, seconds: float) -> float:
    """Bits per second that arrive; the first part of a second, while TCP finds its pace, does not count."""
    head.settimeout(10)
    begin = time.monotonic()
    while time.monotonic() < begin + 0.7:
        head.recv(1 << 16)
    start, total = time.monotonic(), 0
    while time.monotonic() < start + seconds:
        total += len(head.recv(1 << 16))
    return total * 8 / (time.monotonic() - start)


def rates(pairs: list[tuple[int | None, int | None]], seconds: float) -> list[float]:
    """Bits of TCP data per second from the first to the second of every pair, while all send."""
    servers = [listen(to) for _, to in pairs]
    ends = [connect(start, server) for (start, _), server in zip(pairs, servers, strict=True)]
    heads = [server.accept()[0] for server in servers]
    with ThreadPoolExecutor(2 * len(pairs)) as pool:
        for end in ends:
            pool.submit(send, end)
        found = list(pool.map(receive, heads, [seconds] * len(heads)))
        for each in (*heads, *servers):
            each.close()
    return found


def lost(count: int, size: int = 22) -> float:
    """The share of so many datagrams from node 1 to node 2 that did not arrive."""
    receiver = Stations.inside(2, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with receiver, Stations.inside(1, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        receiver.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER_FORCED, 1 << 29)
        receiver.bind((address(2), PORT))
        sender.connect((address(2), PORT))
        datagram = bytes(size)
        for _ in range(count):
            sender.send(datagram)
        receiver.settimeout(1)
        arrived = 0
        try:
            while True:
                arrived += len(receiver.recv(2048)) == size
        except TimeoutError:
            return 1 - arrived / count


def test_all_stations_have_the_same_share_and_every_frame_of_theirs_is_on_the_air_twice(stations: Stations) -> None:
    assert stations.link("wifi:30mbit") == ["one medium for 3 nodes: wifi:30mbit"]
    assert stations.link("wifi:30mbit") == []
    found = rates([(1, 2), (2, 3), (3, 1)], 2.5)
    assert max(found) / min(found) < 1.05, found
    assert 0.9 < sum(found) / (RATE / 2 * TCP_SHARE) < 1.01, found


def test_all_stations_have_the_same_share_to_one_of_them(stations: Stations) -> None:
    stations.link("wifi:30mbit")
    found = rates([(1, 3), (2, 3)], 1.5)
    assert max(found) / min(found) < 1.05, found
    assert 0.9 < sum(found) / (RATE / 2 * TCP_SHARE) < 1.01, found


def test_what_goes_to_the_controllers_cable_is_on_the_air_once(stations: Stations) -> None:
    stations.link("wifi:30mbit")
    (there,), (back,) = rates([(1, None)], 1), rates([(None, 1)], 1)
    # What TCP had to send again, and hands on all at once, may be within such a short time or not.
    assert all(0.8 < rate / (RATE * TCP_SHARE) < 1.2 for rate in (there, back)), (there, back)


def test_the_declared_loss_is_lost(stations: Stations) -> None:
    assert stations.link("wifi:300mbit,loss=5%") == [
        *(f"node0{n}: link wifi:300mbit,loss=5%" for n in (1, 2, 3)),
        "one medium for 3 nodes: wifi:300mbit,loss=5%",
    ]
    assert lost(40_000) == pytest.approx(0.05, rel=0.1)
    assert lost(1_000, 1472) < 0.15


def test_dilation_slows_the_medium(stations: Stations) -> None:
    stations.link("wifi:30mbit", dilation=3.0)
    assert 0.85 < rates([(1, 2)], 1)[0] / (RATE / 3 / 2 * TCP_SHARE) < 1.01


def test_stations_come_and_go_and_cables_come_back(stations: Stations) -> None:
    stations.link("wifi:30mbit", nodes=2)
    with listen(2) as server, connect(1, server) as end, server.accept()[0] as head:
        stations.link("20mbit", nodes=2)
        stations.link("wifi:30mbit", nodes=2)
        end.sendall(b"still there")
        head.settimeout(10)
        assert head.recv(20) == b"still there"
    assert stations.link("wifi:30mbit", nodes=3)[-1] == "one medium for 3 nodes: wifi:30mbit"
    assert stations.link("20mbit") == [f"node0{n}: link 20mbit" for n in (1, 2, 3)]
    assert medium.AIR not in network.interfaces(switch_namespace(NAME))
    found = rates([(1, 2), (2, 3), (3, 1)], 1)
    assert all(0.85 < rate / 20e6 < 1 for rate in found), found


def test_what_the_kernel_lacks_is_named_with_what_works(stations: Stations) -> None:
    apart = ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    if subprocess.run(apart, capture_output=True, check=False, timeout=10).returncode == 0:
        stations.link("wifi:30mbit,latency=20ms")
        begin = time.monotonic()
        Stations.inside(1, lambda: socket.socket().connect_ex((address(2), PORT)))
        assert time.monotonic() - begin > 0.04
        return
    with pytest.raises(ClusterError, match="no netem") as refused:
        medium.require(read_link("wifi:30mbit,loss=1%,latency=3ms"))
    assert refused.value.remedy.endswith("leave them out: --link wifi:30mbit,loss=1%")
