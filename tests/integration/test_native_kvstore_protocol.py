"""The native store's scheduler and server, asked by peers that speak their protocol: semantics, strangers, faults."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
from native_kvstore import (
    BARRIER,
    DONE,
    INIT,
    LEAVE,
    LIMIT_SECONDS,
    OPTIMISE,
    PULL,
    PUSH,
    PUSHPULL,
    REFUSED,
    ROSTER,
    RULE,
    VALUES,
    Peer,
    cluster,
)  # fmt: skip

pytestmark = pytest.mark.mxnet

SGD = 1


def floats(body: bytes) -> list[float]:
    return np.frombuffer(body, np.float32).tolist()


def test_synchronous_server_answers_with_the_sum_of_all_once_all_have_pushed() -> None:
    with cluster(2) as running:
        members, (one, other), _ = running.all_joined()
        assert one.ask(INIT, 3, [1.0, 2.0]) == (DONE, b"")
        assert floats(other.ask(PULL, 3)[1]) == [1.0, 2.0]
        one.send(PUSHPULL, 3, np.array([10, 20], np.float32).tobytes())
        one.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            one.receive()
        one.socket.settimeout(LIMIT_SECONDS)
        assert other.ask(PUSH, 3, [1.0, 2.0]) == (DONE, b"")
        kind, _, body = one.receive()
        assert (kind, floats(body)) == (VALUES, [11.0, 22.0])
        for member in members:
            member.send(LEAVE)
        assert running.scheduler.wait(LIMIT_SECONDS) == running.server.wait(LIMIT_SECONDS) == 0


def test_sums_are_made_in_the_order_of_ranks() -> None:
    small, large = 1.0, 2.0**24  # float32: large + 1 + 1 is large, 1 + 1 + large is not
    with cluster(3) as running:
        _, (one, two, three), _ = running.all_joined()
        one.ask(INIT, 0, [0.0])
        for peer, value in ((three, large), (two, small), (one, small)):
            peer.send(PUSHPULL, 0, np.float32(value).tobytes())
        answers = [floats(peer.receive()[2]) for peer in (one, two, three)]
    assert answers == [[large + 2]] * 3


def test_asynchronous_server_applies_at_once_and_needs_an_optimizer() -> None:
    with cluster(2) as running:
        _, (one, other), _ = running.all_joined(synchronous=False)
        one.ask(INIT, 0, [1.0])
        kind, why = one.ask(PUSH, 0, [1.0])
        assert kind == REFUSED
        assert b"set_optimizer" in why
        assert one.ask(OPTIMISE, 0, body=RULE.pack(SGD, 0.5, 0.0, 1.0, -1.0, 0.0, 0.0)) == (DONE, b"")
        assert floats(other.ask(PUSHPULL, 0, [1.0])[1]) == [0.5]
        assert floats(one.ask(PULL, 0)[1]) == [0.5]


def test_garbage_does_not_end_the_processes() -> None:
    with cluster(1) as running:
        _, (worker,), port = running.all_joined()
        for where in (running.port, port):
            for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 4096, os.urandom(4096), b"kvstore1" + os.urandom(4096)):
                with socket.create_connection(("127.0.0.1", where), LIMIT_SECONDS) as stranger:
                    stranger.sendall(garbage)
        assert worker.ask(INIT, 0, [1.0, 2.0]) == (DONE, b"")
        assert running.scheduler.poll() is running.server.poll() is None


def test_peer_without_the_token_is_sent_away() -> None:
    with cluster(1) as running:
        _, _, port = running.all_joined()
        for where in (running.port, port):
            stranger = Peer(where, 0, workers=1, token="another")  # noqa: S106
            assert not stranger.proved
            assert stranger.is_sent_away()


@pytest.mark.parametrize(
    ("kind", "key", "body", "size"),
    [
        (PUSH, 0, b"", 4),  # of a key with two elements
        (PUSH, 1, b"", 8),  # of an unknown key
        (INIT, 0, b"", 12),
        (INIT, 2, b"", 2**62),
        (INIT, 2, b"", 7),
        (OPTIMISE, 0, b"", 5),
        (99, 0, b"", 0),
    ],
)  # fmt: skip
def test_wrong_sizes_end_the_connection_and_nothing_else(kind: int, key: int, body: bytes, size: int) -> None:
    with cluster(2) as running:
        _, (one, other), _ = running.all_joined()
        one.ask(INIT, 0, [1.0, 2.0])
        one.send(kind, key, body, size)
        assert one.is_sent_away()
        assert running.server.stderr
        assert "worker 0" in running.server.stderr.readline()
        assert floats(other.ask(PULL, 0)[1]) == [1.0, 2.0]


def test_newcomer_takes_a_dead_workers_place() -> None:
    with cluster(2) as running:
        members, (one, other), port = running.all_joined()
        one.ask(INIT, 0, [1.0])
        other.send(PUSHPULL, 0, np.float32(5).tobytes())
        members[1].send(BARRIER)
        other.socket.close()
        members[1].socket.close()
        newcomer = running.join(-1)
        assert newcomer.receive()[:2] == (ROSTER, 1)
        again = running.at_server(port, 1, follows=True)
        assert again.ask(INIT, 0, [9.0]) == (DONE, b"")
        assert floats(again.ask(PULL, 0)[1]) == [1.0]  # its first values are not taken
        again.send(PUSHPULL, 0, np.float32(7).tobytes())  # the dead one's part of the round counts
        assert floats(one.ask(PUSHPULL, 0, [1.0])[1]) == floats(again.receive()[2]) == [6.0]
        for member in (members[0], newcomer):
            member.send(BARRIER)
        assert members[0].receive()[0] == newcomer.receive()[0] == BARRIER


def test_processes_end_with_a_reason_where_another_was_lost() -> None:
    with cluster(1) as running:
        running.all_joined()
        running.server.kill()
        assert running.scheduler.wait(LIMIT_SECONDS) == 1
        assert running.scheduler.stderr
        assert "lost server 0" in running.scheduler.stderr.read()
    with cluster(1) as running:
        running.all_joined()
        running.scheduler.kill()
        assert running.server.wait(LIMIT_SECONDS) == 1
        assert running.server.stderr
        assert "lost the scheduler" in running.server.stderr.read()


def test_server_takes_little_memory() -> None:
    with cluster(1) as running:
        _, (worker,), _ = running.all_joined()
        worker.ask(INIT, 0, np.zeros(61_706).tolist())
        worker.ask(PUSHPULL, 0, np.zeros(61_706).tolist())
        status = Path(f"/proc/{running.server.pid}/status").read_text(encoding="ascii")
    resident = int(status.split("VmRSS:")[1].split()[0])
    assert resident < 10_000  # kB: LeNet-5's values and gradients are a quarter of a megabyte each
