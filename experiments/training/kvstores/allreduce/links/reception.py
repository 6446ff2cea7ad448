"""Where workers and strangers knock: all are examined side by side, so that nobody holds up another."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from typing import NamedTuple

from ....trial import Seat
from .handshake import HANDSHAKE_SECONDS, RefusedError, examine

_POLL_SECONDS = 0.2
_MOST_AT_ONCE = 256


class Guest(NamedTuple):
    """A connection that proved to be of this trial."""

    connection: socket.socket
    rank: int
    channel: int
    port: int
    key: bytes
    """For signatures; only the two ends know it."""


class Reception:
    """Accepts connections on a listening socket while it is entered, each examined in a thread of its own.

    A handshake has one deadline, so the threads end by themselves. Further connections wait while the most are examined that
    may be at once.
    """

    def __init__(self, listener: socket.socket, seat: Seat) -> None:
        self._listener = listener
        self._seat = seat
        self._proven: queue.SimpleQueue[Guest] = queue.SimpleQueue()
        self._places = threading.Semaphore(_MOST_AT_ONCE)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="reception", daemon=True)

    def __enter__(self) -> Reception:
        self._listener.settimeout(_POLL_SECONDS)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
        with contextlib.suppress(queue.Empty):
            while True:
                self._proven.get_nowait().connection.close()

    def next(self, seconds: float) -> Guest | None:
        """The next that proved itself; None where none did in time."""
        try:
            return self._proven.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            return None

    def _accept(self) -> None:
        while not self._closed.is_set():
            if not self._places.acquire(timeout=_POLL_SECONDS):
                continue
            try:
                connection, _ = self._listener.accept()
            except OSError:  # nobody came, or the one who did went away
                self._places.release()
                continue
            threading.Thread(target=self._examine, args=(connection,), name="handshake", daemon=True).start()

    def _examine(self, connection: socket.socket) -> None:
        try:
            guest = Guest(connection, *examine(connection, self._seat))
            connection.settimeout(HANDSHAKE_SECONDS)
        except (RefusedError, OSError):
            connection.close()
        else:
            if self._closed.is_set():
                connection.close()
            self._proven.put(guest)
        finally:
            self._places.release()
