"""Signed messages of the all-reduce: the same sums, and whoever changes packets between two workers is found."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

import allreduce_job
import numpy as np
import pytest
from training.errors import ProgramError
from training.kvstores.allreduce.exchange import Exchange
from training.kvstores.allreduce.links import Links
from training.kvstores.allreduce.links.link import Link
from training.kvstores.allreduce.links.signed import TAG_BYTES, SignedLink, keys_of
from training.reporting.phases import Phases

KEY = b"of this connection" + bytes(14)
FIRST, SECOND = b"the first message", b"the second one"
Middle = tuple[SignedLink, socket.socket, socket.socket, SignedLink]


@pytest.mark.parametrize("size", [2, 1000, 2_000_000])  # with empty shards, and larger than the kernel's buffers
def test_sums_are_as_without_signatures(size: int) -> None:
    def work(links: Links) -> list[float]:
        assert all(isinstance(link, SignedLink) for link in links._links.values())
        exchange = Exchange(links, 0, size, np.float32)
        return [float(exchange.sum(np.full(size, links.rank + step, np.float32)).sum()) for step in range(3)]

    seats = [replace(seat, signed=True) for seat in allreduce_job.seats(3)]
    assert allreduce_job.together(work, seats) == [[size * (3.0 + 3 * step) for step in range(3)]] * 3


def test_who_does_not_sign_is_not_let_in() -> None:
    first, second = allreduce_job.seats(2)
    futures = allreduce_job.outcomes(lambda links: None, [replace(first, signed=True), second], join_seconds=1.5)
    assert all(isinstance(future.exception(), ProgramError) for future in futures)


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    other.settimeout(5)
    return one, other


@pytest.fixture
def middle() -> Iterator[Middle]:
    """Two workers' ends, and between them somebody who passes on what he likes."""
    (one, heard), (other, said) = connected(), connected()
    backlog: set[Link] = set()
    ends = [
        SignedLink(end, "worker 1", backlog, Phases(in_turns=True), keys_of(KEY, connecting=connecting))
        for end, connecting in ((one, True), (other, False))
    ]
    yield ends[0], heard, said, ends[1]
    for each in (one, heard, other, said):
        each.close()


def caught(sender: SignedLink, heard: socket.socket, message: bytes) -> bytes:
    """What is on the way once a message was sent."""
    sender.send(memoryview(message))
    found = b""
    while len(found) < len(message) + TAG_BYTES:
        found += heard.recv(1 << 16)
    return found


def test_what_was_sent_is_received_in_pieces_too(middle: Middle) -> None:
    sender, heard, said, receiver = middle
    place = bytearray(len(FIRST))
    on_the_way = caught(sender, heard, FIRST)
    said.sendall(on_the_way[:4])
    left = memoryview(place)
    while left.nbytes > len(FIRST) - 4:
        left = receiver.receive_what_is_there(left)
    said.sendall(on_the_way[4:])
    receiver.receive(left)
    assert bytes(place) == FIRST
    said.sendall(caught(sender, heard, SECOND))
    left = memoryview(bytearray(len(SECOND)))
    while left.nbytes:
        left = receiver.receive_what_is_there(left)


@pytest.mark.parametrize(
    "passed_on",
    [
        lambda first, second: bytes([first[0] ^ 1]) + first[1:],
        lambda first, second: first[:-1] + bytes([first[-1] ^ 1]),
        lambda first, second: second,  # the first is left out
        lambda first, second: first[1:] + b"?",
    ],
    ids=["a bit", "its signature", "the next one", "moved"],
)
def test_a_changed_message_is_found(middle: Middle, passed_on: Callable[[bytes, bytes], bytes]) -> None:
    sender, heard, said, receiver = middle
    said.sendall(passed_on(caught(sender, heard, FIRST), caught(sender, heard, FIRST)))
    with pytest.raises(ProgramError, match="what came from worker 1 is not what it sent"):
        receiver.receive(memoryview(bytearray(len(FIRST))))


def test_a_message_that_is_repeated_or_sent_back_is_found(middle: Middle) -> None:
    sender, heard, said, receiver = middle
    once = caught(sender, heard, FIRST)
    said.sendall(once + once)
    receiver.receive(memoryview(bytearray(len(FIRST))))
    with pytest.raises(ProgramError, match="is not what it sent"):
        receiver.receive(memoryview(bytearray(len(FIRST))))
    heard.sendall(once)
    with pytest.raises(ProgramError, match="is not what it sent"):
        sender.receive(memoryview(bytearray(len(FIRST))))
