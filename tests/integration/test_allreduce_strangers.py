"""Strangers at the all-reduce rendezvous: they hold up nobody, and the limit of joining holds."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import allreduce_job
import pytest
from training.errors import ProgramError
from training.kvstores.allreduce.links import Links, Seat

MAGIC = b"harness-allreduce-1\n"


@contextlib.contextmanager
def strangers(seat: Seat, idle: int, slow: int) -> Iterator[None]:
    """Connections to worker 0: some say nothing, some send a byte every half second, all before the workers knock."""
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for byte in MAGIC * 20:
                connection.sendall(bytes([byte]))
                if over.wait(0.5):
                    return

    connections: list[socket.socket] = []

    def begin() -> None:
        while len(connections) < idle + slow and not over.wait(0.02):
            with contextlib.suppress(OSError):  # worker 0 does not listen yet
                connections.append(socket.create_connection(seat.root, 5))
        for connection in connections[idle:]:
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=begin)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for connection in connections:
            connection.close()


def test_idle_and_slow_strangers_do_not_keep_the_workers_apart() -> None:
    seats = allreduce_job.seats(3)
    began = time.monotonic()
    with strangers(seats[0], idle=8, slow=4):
        found: list[int] = []
        first = threading.Thread(
            target=lambda: found.extend(allreduce_job.together(lambda links: links.rank, seats[:1], join_seconds=20))
        )
        first.start()
        time.sleep(0.5)  # the strangers knock first
        found += allreduce_job.together(lambda links: links.rank, seats[1:], join_seconds=20)
        first.join(20)
    assert sorted(found) == [0, 1, 2]
    assert time.monotonic() - began < 10


def test_a_slow_stranger_does_not_outlast_the_limit_of_joining() -> None:
    seats = allreduce_job.seats(2)
    began = time.monotonic()
    with strangers(seats[0], idle=0, slow=2), pytest.raises(ProgramError, match="workers 1 did not join in time"):
        Links(seats[0], 1, join_seconds=1.5)
    assert time.monotonic() - began < 5
