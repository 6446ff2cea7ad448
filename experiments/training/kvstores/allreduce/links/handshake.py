"""How two workers prove to each other that they are of one trial.

Both ends show that they hold the trial's token (HMAC-SHA256 over fresh challenges, the token itself never travels), so a
stranger on the network can neither join nor pose as a worker. What follows is not encrypted, and signed only where that is
asked for: the proof leaves both ends with a key for it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
import struct
import time

from ....trial import Seat

HANDSHAKE_SECONDS = 5.0
"""For the whole of it: a byte now and then does not lengthen it."""

_MAGIC, _MAGIC_SIGNED = b"harness-allreduce-1\n", b"harness-allreduce-s\n"
_CHALLENGE = 32
_HELLO = struct.Struct("!III")  # rank, channel, port


class RefusedError(Exception):
    """The other end does not know the token, or is no worker of this trial."""


def introduce(connection: socket.socket, seat: Seat, channel: int, port: int) -> bytes:
    """The connecting end's part of the mutual proof; a key that only the two ends know.

    Raises RefusedError, and OSError where it takes too long.
    """
    until = time.monotonic() + HANDSHAKE_SECONDS
    hello = _HELLO.pack(seat.rank, channel, port)
    mine = secrets.token_bytes(_CHALLENGE)
    connection.sendall(_magic(seat) + mine + hello)
    theirs = read_exactly(connection, _CHALLENGE, until)
    if not hmac.compare_digest(
        read_exactly(connection, _CHALLENGE, until), _proof(seat.token, b"accept", mine, theirs, hello)
    ):
        raise RefusedError("it holds another token")
    connection.sendall(_proof(seat.token, b"connect", mine, theirs, hello))
    if read_exactly(connection, 1, until) != b"+":
        raise RefusedError("it refused this worker's token")
    return _proof(seat.token, b"key", mine, theirs, hello)


def examine(connection: socket.socket, seat: Seat) -> tuple[int, int, int, bytes]:
    """The accepting end's part; the other's rank, channel and port, and the key. Raises as `introduce`."""
    until = time.monotonic() + HANDSHAKE_SECONDS
    if read_exactly(connection, len(_MAGIC), until) != _magic(seat):
        raise RefusedError("it does not speak this protocol")
    theirs = read_exactly(connection, _CHALLENGE, until)
    hello = read_exactly(connection, _HELLO.size, until)
    mine = secrets.token_bytes(_CHALLENGE)
    connection.sendall(mine + _proof(seat.token, b"accept", theirs, mine, hello))
    if not hmac.compare_digest(
        read_exactly(connection, _CHALLENGE, until), _proof(seat.token, b"connect", theirs, mine, hello)
    ):
        connection.sendall(b"-")
        raise RefusedError("it holds another token")
    connection.sendall(b"+")
    rank, channel, port = _HELLO.unpack(hello)
    return rank, channel, port, _proof(seat.token, b"key", theirs, mine, hello)


def _magic(seat: Seat) -> bytes:
    """What a connection begins with: an end that signs and one that does not would not understand each other."""
    return _MAGIC_SIGNED if seat.signed else _MAGIC


def _proof(token: bytes, end: bytes, connecting: bytes, accepting: bytes, hello: bytes) -> bytes:
    return hmac.new(token, b"|".join((_MAGIC, end, connecting, accepting, hello)), hashlib.sha256).digest()


def read_exactly(connection: socket.socket, size: int, until: float) -> bytes:
    """So many bytes of a blocking connection, all of them before a moment of the monotonic clock. Raises OSError."""
    received = b""
    while len(received) < size:
        connection.settimeout(max(until - time.monotonic(), 0.001))
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionError("closed")
        received += part
    return received
