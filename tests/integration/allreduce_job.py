"""Workers of the allreduce store as threads of one process, each with a loopback address of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from training.kvstores.allreduce.links import Links, Seat

TOKEN = "5e" * 16
LIMIT_SECONDS = 60

T = TypeVar("T")


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that nobody listens on."""
    for first in range(21000, 60000, count):
        try:
            for port in range(first, first + count):
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


def seats(workers: int, token: str = TOKEN) -> list[Seat]:
    """The workers of one trial."""
    port = free_ports(workers)
    return [Seat(rank, workers, f"127.0.0.{rank + 1}", ("127.0.0.1", port), token.encode()) for rank in range(workers)]


def together(work: Callable[[Links], T], places: list[Seat], channels: int = 1, join_seconds: float = 30) -> list[T]:
    """What `work` returns for every worker; raises what the first of them raises."""
    return [future.result(0) for future in outcomes(work, places, channels, join_seconds)]


def outcomes(
    work: Callable[[Links], T], places: list[Seat], channels: int = 1, join_seconds: float = 30
) -> list[Future[T]]:
    """How `work` ended for every worker; a worker's connections close when it ends, as a process's would."""

    def run(seat: Seat) -> T:
        links = Links(seat, channels, join_seconds)
        try:
            return work(links)
        finally:
            links.close()

    with ThreadPoolExecutor(len(places)) as pool:
        futures = [pool.submit(run, seat) for seat in places]
        for future in futures:
            future.exception(LIMIT_SECONDS)
    return futures


def counted(links: Links, channel: int = 0) -> list[int]:
    """The bytes of every message that is sent from now on, as they are sent."""
    found: list[int] = []

    def counting(send: Callable[[memoryview], None]) -> Callable[[memoryview], None]:
        def sending(message: memoryview) -> None:
            found.append(message.nbytes)
            send(message)

        return sending

    for rank in set(range(links.workers)) - {links.rank}:
        link = links.to(channel, rank)
        link.send = counting(link.send)  # type: ignore[method-assign]
    return found
