"""What an agent tells of the bytes that came to it, and what the one that sent them makes of it."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import pytest
from agent import health

PROBE: dict[str, Any] = {
    "peers": [], "measure": "127.0.0.1", "probe_bytes": 1 << 20, "probe_seconds": 0.3, "timeout_seconds": 5.0,
}  # fmt: skip


class Slow:
    """A connection on which bytes come at these moments."""

    def __init__(self, *moments: float) -> None:
        self._left = list(moments)
        self._now = 0.0

    def recv(self, _: int) -> bytes:
        self._now = self._left.pop(0) if self._left else self._now + 0.5
        return b"." * 10 if self._left else b""

    def monotonic(self) -> float:
        return self._now


@pytest.mark.parametrize(
    ("moments", "told"),
    [
        ((1.0, 1.25, 1.5, 2.0), [(1.0, 10), (0.75, 20), (0.5, 30)]),
        ((1.0, 1.03, 1.06, 1.09, 1.12, 1.16, 1.2), [(0.2, 10), (0.11, 40), (0.04, 60)]),
        ((1.0,), []),
    ],
)
def test_bytes_are_told_with_how_long_ago_they_came(
    moments: tuple[float, ...], told: list[tuple[float, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = Slow(*moments)
    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=connection.monotonic))
    assert health.arrivals(cast("socket.socket", connection)) == told


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[int]:
    """Of an agent that serves."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        found: int = free.getsockname()[1]
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as stdin:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", stdin)
        thread = threading.Thread(target=health.serve, args=({"address": "127.0.0.1", "port": found},))
        thread.start()
        said = ""
        while "listening" not in said:
            said += capfd.readouterr().out
        yield found
        os.close(writing)
        thread.join(10)


def test_a_peer_is_sent_so_much_for_so_long_and_says_how_it_arrived(port: int) -> None:
    began = time.monotonic()
    answer = health.connect({**PROBE, "peers": ["127.0.0.1"], "port": port})
    took = time.monotonic() - began
    assert isinstance(answer["reached"]["127.0.0.1"], float)
    (begin, first), *_, (end, last) = answer["arrivals"]
    assert 0 < first < last
    assert last >= PROBE["probe_bytes"]
    # However long either thread was kept from a processor.
    assert took >= PROBE["probe_seconds"]
    assert 0 < begin - end <= took
    assert last / took <= answer["bytes_per_second"] <= last / PROBE["probe_seconds"]


def test_without_an_answer_there_is_no_rate() -> None:
    def hang_up() -> None:
        with server.accept()[0] as connection:
            while connection.recv(1 << 20):
                pass

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=hang_up)
        thread.start()
        answer = health.connect({**PROBE, "port": server.getsockname()[1]})
        thread.join(10)
    assert answer == {"reached": {}, "reason": "its answer was cut"}
