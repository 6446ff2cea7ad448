"""How the workers find each other: all join at worker 0, which gives out the roster; then all connect to all.

Every worker listens on its own address; worker 0's is known to all. A connection is made by the worker of the higher rank.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import time
from collections.abc import Callable

from contract import wire

from ....errors import ProgramError
from ....reporting.phases import Phases
from ....trial import Seat
from .handshake import HANDSHAKE_SECONDS, RefusedError, introduce, read_exactly
from .link import Link
from .reception import Guest, Reception
from .signed import SignedLink, keys_of

_RETRY_SECONDS = 0.1
_ROSTER_ENTRY = struct.Struct("!H45s")  # port, address
_JOIN = 0xFFFFFFFF  # the channel of the first connection to worker 0, which is only for finding each other


class Rendezvous:
    """How the workers find each other: all join at worker 0, which gives out the roster; then all connect to all."""

    def __init__(self, seat: Seat, channels: int, deadline: float) -> None:
        self._seat = seat
        self._channels = channels
        self._deadline = deadline

    def meet(self, links: dict[tuple[int, int], Link], phases: Phases, apart: int | None = None) -> None:
        """Fill `links`, which tell `phases` of their waiting; those of the channel `apart` share nothing with the others."""
        seat = self._seat
        ours: tuple[set[Link], Phases] = set(), phases
        theirs: tuple[set[Link], Phases] = set(), phases if phases.in_turns else Phases(in_turns=True)

        def link(connection: socket.socket, channel: int, name: str, keys: tuple[bytes, bytes]) -> Link:
            shared = theirs if channel == apart else ours
            return SignedLink(connection, name, *shared, keys) if seat.signed else Link(connection, name, *shared)

        with listen(seat, 2 * seat.workers * self._channels) as listener, Reception(listener, seat) as reception:
            port = listener.getsockname()[1]
            roster = self._gather(reception, port) if seat.rank == 0 else self._join(port)
            for rank in range(seat.rank):
                for channel in range(self._channels):
                    connection, key = self._connect(roster[rank], channel, port)
                    keys = keys_of(key, connecting=True)
                    links[channel, rank] = link(connection, channel, _name(rank, roster[rank]), keys)
            expected = {
                (channel, rank) for rank in range(seat.rank + 1, seat.workers) for channel in range(self._channels)
            }
            while expected - links.keys():
                guest = self._accept(reception, lambda: _missing(expected - links.keys()))
                place = (guest.channel, guest.rank)
                if place in expected - links.keys():
                    keys = keys_of(guest.key, connecting=False)
                    links[place] = link(guest.connection, guest.channel, _name(guest.rank, roster[guest.rank]), keys)
                else:
                    guest.connection.close()

    def _gather(self, reception: Reception, port: int) -> list[tuple[str, int]]:
        """As worker 0: wait for everybody, then tell everybody where the others are."""
        seat = self._seat
        joined: dict[int, tuple[socket.socket, tuple[str, int]]] = {}
        with contextlib.ExitStack() as stack:
            while len(joined) < seat.workers - 1:
                absent = set(range(1, seat.workers)) - joined.keys()
                connection, rank, channel, own, _ = self._accept(reception, lambda: f"workers {_ranks(absent)}")  # noqa: B023
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
        with self._connect(self._seat.root, _JOIN, port)[0] as connection:
            try:
                message = read_exactly(connection, _ROSTER_ENTRY.size * self._seat.workers, self._deadline)
            except OSError as error:
                raise ProgramError(
                    f"worker 0 at {_text(self._seat.root)} never said that all workers are there ({error})",
                    "see the log of worker 0 for whom it missed",
                ) from error
        entries = (_ROSTER_ENTRY.unpack_from(message, at) for at in range(0, len(message), _ROSTER_ENTRY.size))
        return [(address.rstrip(b"\0").decode(), own) for own, address in entries]

    def _connect(self, address: tuple[str, int], channel: int, port: int) -> tuple[socket.socket, bytes]:
        """Connect and prove each other, trying until the deadline; the connection and its key."""
        reason: Exception = TimeoutError("no time left")
        while time.monotonic() < self._deadline:
            try:
                # from the own address: on a node with several the others must see the one they know
                connection = socket.create_connection(address, HANDSHAKE_SECONDS, (self._seat.host, 0))
            except OSError as error:
                reason = error
                time.sleep(_RETRY_SECONDS)
                continue
            try:
                key = introduce(connection, self._seat, channel, port)
            except (RefusedError, OSError) as error:
                connection.close()
                if isinstance(error, RefusedError):
                    raise ProgramError(
                        f"{_text(address)} is no worker of this trial: {error}",
                        f"let no other trial use this port, and give all workers of a trial one {wire.TRIAL_TOKEN}",
                    ) from error
                reason = error
                time.sleep(_RETRY_SECONDS)
                continue
            return connection, key
        raise ProgramError(
            f"no worker answers at {_text(address)} ({reason})",
            "see that worker's log, and whether the nodes' firewall lets the trial's ports through",
        )

    def _accept(self, reception: Reception, absent: Callable[[], str]) -> Guest:
        """Let in the next that proves itself. Strangers were sent away."""
        guest = reception.next(self._deadline - time.monotonic())
        if guest is None:
            raise ProgramError(
                f"{absent()} did not join in time", "see their logs, or their nodes with `harness check`"
            )
        return guest


def listen(seat: Seat, backlog: int) -> socket.socket:
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
                    f"{wire.NODE_ADDRESS} must be this node's own address",
                ) from error
    raise AssertionError("the last port either served or raised")


def _missing(absent: set[tuple[int, int]]) -> str:
    return f"workers {_ranks({rank for _, rank in absent})}"


def _ranks(absent: set[int]) -> str:
    return ", ".join(str(rank) for rank in sorted(absent))


def _name(rank: int, address: tuple[str, int]) -> str:
    return f"worker {rank} at {_text(address)}"


def _text(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
