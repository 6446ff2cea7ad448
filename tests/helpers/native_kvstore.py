"""The native key-value store for tests: its processes, and a peer that speaks its protocol (files/kvstore/native/wire.h)."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

TOKEN = "of this trial"  # noqa: S105
ROSTER, END, BARRIER, LEAVE, INIT, PUSH, PULL, PUSHPULL, OPTIMISE, DONE, VALUES, REFUSED = range(1, 13)
SERVER, WORKER = 1, 2
HELLO = struct.Struct("<IiIIIII46sH")
HEAD = struct.Struct("<IiIIQ")
RULE = struct.Struct("<Iffffff")
PLACE = struct.Struct("<I46sH")
LIMIT_SECONDS = 30


def package() -> Path:
    """The runtime's package with library and program; skips the test where there is none."""
    python = os.environ.get("HARNESS_RUNTIME_PYTHON", "")
    found = list(Path(python).parent.parent.glob("lib/python3*/site-packages/native_kvstore")) if python else []
    if not found:
        pytest.skip("HARNESS_RUNTIME_PYTHON names no runtime with the native key-value store")
    return found[0]


class Peer:
    """One proved connection."""

    def __init__(
        self, port: int, rank: int, *, role: int = WORKER, workers: int, servers: int = 1, synchronous: bool = True,
        follows: bool = False, token: str = TOKEN,
    ) -> None:  # fmt: skip
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT_SECONDS)
        hello = HELLO.pack(role, rank, workers, servers, synchronous, follows, 0, b"127.0.0.1", 0)
        opening = b"kvstore1" + os.urandom(32) + hello
        self.socket.sendall(opening)
        challenge = self.exactly(64)
        nonce, proof = challenge[:32], challenge[32:]
        self.proved = proof == hmac.digest(token.encode(), b"accept" + opening + nonce, hashlib.sha256)
        self.socket.sendall(hmac.digest(token.encode(), b"connect" + opening + nonce, hashlib.sha256))

    def send(self, kind: int, key: int = 0, body: bytes = b"", size: int | None = None) -> None:
        self.socket.sendall(HEAD.pack(kind, key, 7, 0, len(body) if size is None else size) + body)

    def receive(self) -> tuple[int, int, bytes]:
        """Kind, key and body."""
        kind, key, _, _, size = HEAD.unpack(self.exactly(HEAD.size))
        return kind, key, self.exactly(size)

    def ask(self, kind: int, key: int = 0, values: Sequence[float] = (), body: bytes = b"") -> tuple[int, bytes]:
        """Kind and body of the answer."""
        self.send(kind, key, body or np.asarray(values, np.float32).tobytes())
        answer = self.receive()
        return answer[0], answer[2]

    def exactly(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            part = self.socket.recv(size - len(received))
            if not part:
                raise ConnectionError("closed")
            received += part
        return received

    def is_sent_away(self) -> bool:
        """Whether the other end closes the connection."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            while self.socket.recv(1 << 16):
                pass
            return True
        return False


class Cluster:
    """A scheduler and one server, running; workers are the test's own peers."""

    def __init__(self, workers: int, program: Sequence[str]) -> None:
        self.workers = workers
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        environment = {
            "DMLC_PS_ROOT_URI": "127.0.0.1", "DMLC_PS_ROOT_PORT": str(self.port), "DMLC_NUM_WORKER": str(workers),
            "DMLC_NUM_SERVER": "1", "DMLC_NODE_HOST": "127.0.0.1", "HARNESS_TRIAL_TOKEN": TOKEN,
        }  # fmt: skip
        self.scheduler, self.server = (
            subprocess.Popen(program, env={**environment, "DMLC_ROLE": role}, stderr=subprocess.PIPE, text=True)
            for role in ("scheduler", "server")
        )
        limit = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < limit:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.02)

    def join(self, rank: int, **options: bool) -> Peer:
        """A worker at the scheduler."""
        return Peer(self.port, rank, workers=self.workers, **options)

    def at_server(self, port: int, rank: int, **options: bool) -> Peer:
        """The same worker at the server."""
        return Peer(port, rank, workers=self.workers, **options)

    def all_joined(self, **options: bool) -> tuple[list[Peer], list[Peer], int]:
        """Every worker at the scheduler and at the server, and the server's port."""
        members = [self.join(rank) for rank in range(self.workers)]
        rosters = [member.receive() for member in members]
        assert [(kind, key) for kind, key, _ in rosters] == [(ROSTER, rank) for rank in range(self.workers)]
        port = PLACE.unpack(rosters[0][2])[0]
        return members, [self.at_server(port, rank, **options) for rank in range(self.workers)], port


@contextlib.contextmanager
def cluster(workers: int, program: Sequence[str] | None = None) -> Iterator[Cluster]:
    """A running cluster; its processes are killed at the end."""
    running = Cluster(workers, program or [str(package() / "kvstore")])
    try:
        yield running
    finally:
        for process in (running.scheduler, running.server):
            process.kill()
            process.wait()
            if process.stderr:
                process.stderr.close()
