"""Connections between the workers of a trial: how they find, prove and lose each other.

Every worker listens on its own address; worker 0's is known to all. A connection is made by the worker of the higher
rank. Both ends prove that they hold the trial's token (HMAC-SHA256 over fresh challenges, the token itself never
travels), so a stranger on the network can neither join nor pose as a worker. What follows is not encrypted.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import os
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import ProgramError
from ..phases import Phases, engine_in_turns
from .base import STALL_SECONDS

JOIN_SECONDS = 180.0
"""How long a worker waits for the others to start."""

_HANDSHAKE_SECONDS = 5.0
_RETRY_SECONDS = 0.1
_KEEPALIVE_SECONDS = (3, 1, 5)  # silent for 3 s, then 5 probes 1 s apart: a node that fell off the network
_SEND_BUFFER = 1 << 20
_CONGESTION = b"reno"  # every kernel has it; bbr, where a host prefers it, paces short bursts to half the wire
_INTERACTIVE = 6  # socket(7): of the kernel's queue for a card, the part that is emptied first
_SLACK = 16  # bytes: shards differ by an element, and a limit on arrival need not follow that

_MAGIC = b"harness-allreduce-1\n"
_CHALLENGE = 32
_HELLO = struct.Struct("!III")  # rank, channel, port
_ROSTER_ENTRY = struct.Struct("!H45s")  # port, address
_JOIN = 0xFFFFFFFF  # the channel of the first connection to worker 0, which is only for finding each other


class _RefusedError(Exception):
    """The other end does not know the token, or is no worker of this trial."""


@dataclass(frozen=True)
class Seat:
    """A worker's place in the trial, as its environment says."""

    rank: int
    workers: int
    host: str
    """Own address."""
    root: tuple[str, int]
    """Worker 0's address and port."""
    token: bytes

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Seat:
        """Read `HARNESS_WORKER_RANK`, `HARNESS_TRIAL_TOKEN` and ps-lite's variables; raises ProgramError.

        A process that no launcher started, with none of them set, is the only worker.
        """
        workers = int(environment.get("DMLC_NUM_WORKER", "1"))
        if workers == 1:
            return cls(0, 1, "127.0.0.1", ("127.0.0.1", 0), b"")
        names = (
            "HARNESS_WORKER_RANK",
            "HARNESS_TRIAL_TOKEN",
            "DMLC_PS_ROOT_URI",
            "DMLC_PS_ROOT_PORT",
            "DMLC_NODE_HOST",
        )
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise ProgramError(
                f"the store allreduce with {workers} workers needs {', '.join(missing)} in the environment",
                "start the program through `harness sweep`, which sets them",
            )
        rank, token, address, port, host = (environment[name] for name in names)
        return cls(int(rank), workers, host, (address, int(port)), token.encode())


class Link:
    """One connection to one other worker. Sending never blocks; receiving does, up to `STALL_SECONDS` while the other lives."""

    def __init__(self, connection: socket.socket, name: str, backlog: set[Link], phases: Phases) -> None:
        """`backlog`: links of this worker with something the kernel had no room for. `phases` is told of all waiting."""
        self._phases = phases
        self._socket = connection
        self._name = name
        self._backlog = backlog
        self._unsent: list[memoryview] = []
        self._low_water = 1
        self._readable = select.poll()
        self._readable.register(connection, select.POLLIN)
        _tune(connection)

    def go_first(self) -> None:
        """Let what is sent from now on overtake other links' bytes that wait in this node for the network card."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _INTERACTIVE)

    def send(self, message: memoryview) -> None:
        """Hand bytes to the kernel; what it has no room for goes out while this worker waits for anything."""
        if self._unsent:
            self._unsent.append(message)
            return
        try:
            sent = self._socket.send(message, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._lost(error) from error
        if sent < message.nbytes:
            self._unsent.append(message[sent:])
            self._backlog.add(self)

    def receive(self, message: memoryview) -> None:
        """Fill a buffer with the next bytes."""
        while message.nbytes:
            try:
                received = self._socket.recv_into(message, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait(message.nbytes)
                continue
            except OSError as error:
                raise self._lost(error) from error
            if not received:
                raise self._lost()
            message = message[received:]

    def flush(self) -> None:
        """Hand over what is left to send."""
        while self._unsent:
            self._send_backlog()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _wait(self, wanted: int) -> None:
        """Sleep until `wanted` bytes are there; send meanwhile what is left, or two workers might wait for each other.

        Waking once for a whole message instead of once for every packet is most of what makes this store cheap.
        """
        began = time.perf_counter()
        if not 0 <= wanted - self._low_water <= _SLACK:
            self._low_water = wanted
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
        if self._backlog:
            self._send_backlog(self)
        elif not self._readable.poll(STALL_SECONDS * 1000):
            raise self._stalled()
        self._phases.waited(began)

    def _send_backlog(self, awaited: Link | None = None) -> None:
        """Send what there is room for on any link, once there is room, or once `awaited` has something to read."""
        poll = select.poll()
        links = {link._socket.fileno(): link for link in self._backlog}
        for number in links:
            poll.register(number, select.POLLOUT)
        if awaited:
            number = awaited._socket.fileno()
            poll.register(number, select.POLLIN | (select.POLLOUT if number in links else 0))
        ready = poll.poll(STALL_SECONDS * 1000)
        if not ready:
            raise self._stalled()
        for number, happened in ready:
            if number in links and happened & ~select.POLLIN:
                links[number]._resend()

    def _resend(self) -> None:
        queue, self._unsent = self._unsent, []
        self._backlog.discard(self)
        for message in queue:
            self.send(message)

    def _stalled(self) -> ProgramError:
        return ProgramError(
            f"{self._name} moved nothing for {STALL_SECONDS:g} s",
            "see that worker's log; its node is alive, but it makes no progress",
        )

    def _lost(self, error: OSError | None = None) -> ProgramError:
        detail = f": {error.strerror or error}" if error else ""
        return ProgramError(f"lost the connection to {self._name}{detail}", "see that worker's log for what ended it")


class Links:
    """Connections to all other workers, `channels` to each; `links.to(channel, rank)`.

    Where there are several, what goes over channel 0 overtakes what still waits in this node for its network card.
    """

    def __init__(self, seat: Seat, channels: int, join_seconds: float = JOIN_SECONDS) -> None:
        """Find the others. Raises ProgramError where some are missing after `join_seconds`."""
        self.rank = seat.rank
        self.workers = seat.workers
        self.phases = Phases(in_turns=engine_in_turns())  # this worker's
        self._links: dict[tuple[int, int], Link] = {}
        if seat.workers > 1:
            _Rendezvous(seat, channels, time.monotonic() + join_seconds).meet(self._links, self.phases)
        for (channel, _), link in self._links.items():
            if channel == 0 and channels > 1:
                link.go_first()

    def to(self, channel: int, rank: int) -> Link:
        """The connection to a worker."""
        return self._links[channel, rank]

    def close(self) -> None:
        """Close all connections."""
        for link in self._links.values():
            link.close()


class _Rendezvous:
    """How the workers find each other: all join at worker 0, which gives out the roster; then all connect to all."""

    def __init__(self, seat: Seat, channels: int, deadline: float) -> None:
        self._seat = seat
        self._channels = channels
        self._deadline = deadline

    def meet(self, links: dict[tuple[int, int], Link], phases: Phases) -> None:
        """Fill `links`, which tell `phases` of their waiting."""
        seat = self._seat
        backlog: set[Link] = set()
        with _listen(seat, 2 * seat.workers * self._channels) as listener:
            port = listener.getsockname()[1]
            roster = self._gather(listener, port) if seat.rank == 0 else self._join(port)
            for rank in range(seat.rank):
                for channel in range(self._channels):
                    connection = self._connect(roster[rank], channel, port)
                    links[channel, rank] = Link(connection, _name(rank, roster[rank]), backlog, phases)
            expected = {
                (channel, rank) for rank in range(seat.rank + 1, seat.workers) for channel in range(self._channels)
            }
            while expected - links.keys():
                connection, rank, channel, _ = self._accept(listener, lambda: _missing(expected - links.keys()))
                if (channel, rank) in expected - links.keys():
                    links[channel, rank] = Link(connection, _name(rank, roster[rank]), backlog, phases)
                else:
                    connection.close()

    def _gather(self, listener: socket.socket, port: int) -> list[tuple[str, int]]:
        """As worker 0: wait for everybody, then tell everybody where the others are."""
        seat = self._seat
        joined: dict[int, tuple[socket.socket, tuple[str, int]]] = {}
        with contextlib.ExitStack() as stack:
            while len(joined) < seat.workers - 1:
                absent = set(range(1, seat.workers)) - joined.keys()
                connection, rank, channel, own = self._accept(listener, lambda: f"workers {_ranks(absent)}")  # noqa: B023
                stack.enter_context(connection)
                if channel == _JOIN and rank in absent:
                    joined[rank] = (connection, (connection.getpeername()[0], own))
            roster = [(seat.host, port), *(joined[rank][1] for rank in range(1, seat.workers))]
            message = b"".join(_ROSTER_ENTRY.pack(own, address.encode()) for address, own in roster)
            for connection, _ in joined.values():
                connection.sendall(message)
        return roster

    def _join(self, port: int) -> list[tuple[str, int]]:
        """As another worker: knock at worker 0, and wait for the roster."""
        with self._connect(self._seat.root, _JOIN, port) as connection:
            connection.settimeout(max(self._deadline - time.monotonic(), 0.001))
            try:
                message = _read(connection, _ROSTER_ENTRY.size * self._seat.workers)
            except OSError as error:
                raise ProgramError(
                    f"worker 0 at {_text(self._seat.root)} never said that all workers are there ({error})",
                    "see the log of worker 0 for whom it missed",
                ) from error
        entries = (_ROSTER_ENTRY.unpack_from(message, at) for at in range(0, len(message), _ROSTER_ENTRY.size))
        return [(address.rstrip(b"\0").decode(), own) for own, address in entries]

    def _connect(self, address: tuple[str, int], channel: int, port: int) -> socket.socket:
        """Connect and prove each other, trying until the deadline."""
        reason: Exception = TimeoutError("no time left")
        while time.monotonic() < self._deadline:
            try:
                # from the own address: on a node with several the others must see the one they know
                connection = socket.create_connection(address, _HANDSHAKE_SECONDS, (self._seat.host, 0))
            except OSError as error:
                reason = error
                time.sleep(_RETRY_SECONDS)
                continue
            try:
                _introduce(connection, self._seat, channel, port)
            except (_RefusedError, OSError) as error:
                connection.close()
                if isinstance(error, _RefusedError):
                    raise ProgramError(
                        f"{_text(address)} is no worker of this trial: {error}",
                        "let no other trial use this port, and give all workers of a trial one HARNESS_TRIAL_TOKEN",
                    ) from error
                reason = error
                time.sleep(_RETRY_SECONDS)
                continue
            return connection
        raise ProgramError(
            f"no worker answers at {_text(address)} ({reason})",
            "see that worker's log, and whether the nodes' firewall lets the trial's ports through",
        )

    def _accept(self, listener: socket.socket, absent: Callable[[], str]) -> tuple[socket.socket, int, int, int]:
        """Let in the next that proves itself; its rank, channel and port. Strangers are sent away."""
        while (left := self._deadline - time.monotonic()) > 0:
            listener.settimeout(left)
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                try:
                    return connection, *_examine(connection, self._seat)
                except (_RefusedError, OSError):
                    connection.close()
        raise ProgramError(f"{absent()} did not join in time", "see their logs, or their nodes with `harness check`")


def _listen(seat: Seat, backlog: int) -> socket.socket:
    """Listen on the trial's port of the own node; workers that share a node take the next free ones."""
    first = seat.root[1] + (1 if seat.rank and seat.host == seat.root[0] else 0)
    last = first + (seat.workers if seat.rank else 0)
    for port in range(first, last + 1):
        try:
            return socket.create_server((seat.host, port), backlog=backlog)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port == last:
                raise ProgramError(
                    f"cannot listen on {seat.host}:{port}: {error.strerror}",
                    "free the port, or give the inventory another cluster_port; "
                    "DMLC_NODE_HOST must be this node's own address",
                ) from error
    raise AssertionError("the last port either served or raised")


def _introduce(connection: socket.socket, seat: Seat, channel: int, port: int) -> None:
    """The connecting end's part of the mutual proof."""
    hello = _HELLO.pack(seat.rank, channel, port)
    mine = secrets.token_bytes(_CHALLENGE)
    connection.sendall(_MAGIC + mine + hello)
    theirs = _read(connection, _CHALLENGE)
    if not hmac.compare_digest(_read(connection, _CHALLENGE), _proof(seat.token, b"accept", mine, theirs, hello)):
        raise _RefusedError("it holds another token")
    connection.sendall(_proof(seat.token, b"connect", mine, theirs, hello))
    if _read(connection, 1) != b"+":
        raise _RefusedError("it refused this worker's token")


def _examine(connection: socket.socket, seat: Seat) -> tuple[int, int, int]:
    """The accepting end's part."""
    connection.settimeout(_HANDSHAKE_SECONDS)
    if _read(connection, len(_MAGIC)) != _MAGIC:
        raise _RefusedError("it does not speak this protocol")
    theirs = _read(connection, _CHALLENGE)
    hello = _read(connection, _HELLO.size)
    mine = secrets.token_bytes(_CHALLENGE)
    connection.sendall(mine + _proof(seat.token, b"accept", theirs, mine, hello))
    if not hmac.compare_digest(_read(connection, _CHALLENGE), _proof(seat.token, b"connect", theirs, mine, hello)):
        connection.sendall(b"-")
        raise _RefusedError("it holds another token")
    connection.sendall(b"+")
    rank, channel, port = _HELLO.unpack(hello)
    return rank, channel, port


def _proof(token: bytes, end: bytes, connecting: bytes, accepting: bytes, hello: bytes) -> bytes:
    return hmac.new(token, b"|".join((_MAGIC, end, connecting, accepting, hello)), hashlib.sha256).digest()


def _read(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionError("closed")
        received += part
    return received


def _tune(connection: socket.socket) -> None:
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _CONGESTION)
    idle, interval, probes = _KEEPALIVE_SECONDS
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, (idle + interval * probes) * 1000)


def _missing(absent: set[tuple[int, int]]) -> str:
    return f"workers {_ranks({rank for _, rank in absent})}"


def _ranks(absent: set[int]) -> str:
    return ", ".join(str(rank) for rank in sorted(absent))


def _name(rank: int, address: tuple[str, int]) -> str:
    return f"worker {rank} at {_text(address)}"


def _text(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
