"""What comes from the harness on stdin, and goes to it on stdout."""

from __future__ import annotations

import json
import os
import select
import sys
from typing import BinaryIO

from contract import wire

from .files import Json

# The harness sends a request at once, but for the one that it may make of an agent that has answered `enter`.
REQUEST_SECONDS = 30.0


class RefusedError(Exception):
    """What the harness asked for must not be done."""


class SudoRefusedError(RefusedError):
    """sudo does not let this user be root; the text is what it says."""


def send(frame: Json, payload: bytes = b"") -> None:
    """Write one frame to the harness."""
    out: BinaryIO = sys.stdout.buffer
    if payload:
        frame["bytes"] = len(payload)
    out.write(json.dumps(frame).encode() + b"\n" + payload)
    out.flush()


def read_request() -> bytes:
    """The request line, read byte by byte so that nothing behind it is taken from a stream's stdin. Raises RefusedError."""
    line = b""
    while not line.endswith(b"\n"):
        byte = read_input(1, REQUEST_SECONDS)
        if not byte:
            break
        line += byte
    return line


def read_exactly(size: int, seconds: float) -> bytes:
    """What follows the request on stdin. Raises RefusedError where it is cut: nothing is started then."""
    data = b""
    while len(data) < size:
        part = read_input(min(size - len(data), wire.CHUNK_BYTES), seconds)
        if not part:
            raise RefusedError("the connection was cut within the request")
        data += part
    return data


def read_input(size: int, seconds: float) -> bytes:
    """At most so many bytes of stdin, b"" at its end. Raises RefusedError where nothing comes for so long."""
    if not select.select([0], [], [], seconds)[0]:
        raise RefusedError(f"nothing came for {seconds:g} s within the request")
    return os.read(0, size)
