"""Connections of which one end is silent for long: a worker that computes is waited for, one whose node is gone is named."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import allreduce_job
import numpy as np
import pytest
from training.errors import ProgramError
from training.kvstores.allreduce.exchange import Exchange
from training.kvstores.allreduce.links import Links
from training.kvstores.allreduce.links.link import Link
from training.kvstores.allreduce.links.silence import SILENT_SECONDS
from training.reporting.phases import Phases

LARGE = 12_000_000
"""Values: more bytes than the kernel's buffers take."""
NAMESPACE = "harness-silent"
ADDRESSES = ("10.98.0.1", "10.98.0.2")
PORT = 9099
CABLE = ("hsilent-a", "hsilent-b")
PEER = f"""\
import socket, time
with socket.create_server(("{ADDRESSES[1]}", {PORT})) as server:
    print("listening", flush=True)
    connection, _ = server.accept()
    time.sleep(600)
"""


def test_who_computes_for_long_is_waited_for_however_much_the_others_have_sent() -> None:
    def work(links: Links) -> float:
        mine = np.full(LARGE, links.rank + 1, np.float32)
        exchange = Exchange(links, 0, LARGE, np.float32)
        if links.rank == 1:
            time.sleep(SILENT_SECONDS + 2)
        return float(exchange.sum(mine)[0])

    assert allreduce_job.together(work, allreduce_job.seats(3)) == [6.0] * 3


@contextlib.contextmanager
def another_node() -> Iterator[None]:
    """A network namespace with a cable to this one, for as long as it lasts."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    ip("netns", "add", NAMESPACE)
    try:
        ip("link", "add", CABLE[0], "type", "veth", "peer", "name", CABLE[1], "netns", NAMESPACE)
        ip("address", "add", f"{ADDRESSES[0]}/30", "dev", CABLE[0])
        ip("link", "set", CABLE[0], "up")
        ip("-n", NAMESPACE, "address", "add", f"{ADDRESSES[1]}/30", "dev", CABLE[1])
        ip("-n", NAMESPACE, "link", "set", CABLE[1], "up")
        yield
    finally:
        subprocess.run(["ip", "link", "delete", CABLE[0]], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=False, capture_output=True)


def test_a_node_that_is_gone_while_bytes_are_on_the_way_is_named_within_seconds() -> None:
    command = ["ip", "netns", "exec", NAMESPACE, sys.executable, "-c", PEER]
    with another_node(), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as peer:
        try:
            assert peer.stdout
            assert peer.stdout.readline() == "listening\n"
            with socket.create_connection((ADDRESSES[1], PORT), timeout=10) as connection:
                link = Link(connection, "worker 1 at 10.98.0.2", set(), Phases(in_turns=False))
                subprocess.run(["ip", "-n", NAMESPACE, "link", "set", CABLE[1], "down"], check=True)
                link.send(memoryview(bytes(1000)))
                began = time.monotonic()
                with pytest.raises(ProgramError, match=r"lost the connection to worker 1 at 10\.98\.0\.2"):
                    link.receive(memoryview(bytearray(10)))
                assert time.monotonic() - began < 4 * SILENT_SECONDS
        finally:
            peer.kill()
