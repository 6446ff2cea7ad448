"""One connection to one other worker, once it is made."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Collection

from ....errors import ProgramError
from ....reporting.phases import Phases
from ...base import STALL_SECONDS
from .silence import is_gone

_KEEPALIVE_SECONDS = (3, 1, 5)  # silent for 3 s, then 5 probes 1 s apart: a node that fell off the network
_LOOK_SECONDS = 2.0
"""Where nothing moves for so long, a look at whether the others still answer: the kernel sends no keepalive while bytes are
on the way."""
_SEND_BUFFER = 1 << 20
_CONGESTION = b"reno"  # every kernel has it; bbr, where a host prefers it, paces short bursts to half the wire
# socket(7), tc-pfifo_fast(8): of the kernel's queue for a card, the part that is emptied first, and the last, where sshd's
# messages are: before them, those of a large model would keep the harness from its node.
_INTERACTIVE, _BULK = 6, 2
_SLACK = 16  # bytes: shards differ by an element, and a limit on arrival need not follow that


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
        tune(connection)

    def go_first(self) -> None:
        """Let what is sent from now on overtake other links' bytes that wait in this node for the network card."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _INTERACTIVE)

    def send(self, message: memoryview) -> None:
        """Hand bytes to the kernel; what it has no room for goes out while this worker waits for anything."""
        self._hand_over(message)

    def _hand_over(self, message: memoryview) -> None:
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

    def receive_what_is_there(self, message: memoryview) -> memoryview:
        """Fill as much of a buffer as the kernel has bytes; what of it is left."""
        try:
            while message.nbytes:
                received = self._socket.recv_into(message, 0, socket.MSG_DONTWAIT)
                if not received:
                    raise self._lost()
                message = message[received:]
        except BlockingIOError:
            pass
        except OSError as error:
            raise self._lost(error) from error
        return message

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
        else:
            self._until(self._readable, [self])
        self._phases.waited(began)

    def _until(self, poll: select.poll, links: Collection[Link]) -> list[tuple[int, int]]:
        """Wait until something happens on one of these links; what did, as `poll` says it."""
        limit = time.monotonic() + STALL_SECONDS
        while not (happened := poll.poll(min(_LOOK_SECONDS, STALL_SECONDS) * 1000)):
            for link in links:
                if is_gone(link._socket):
                    raise link._lost(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
            if time.monotonic() > limit:
                raise self._stalled()
        return happened

    def _send_backlog(self, awaited: Link | None = None) -> None:
        """Send what there is room for on any link, once there is room, or once `awaited` has something to read."""
        poll = select.poll()
        links = {link._socket.fileno(): link for link in self._backlog}
        for number in links:
            poll.register(number, select.POLLOUT)
        if awaited:
            number = awaited._socket.fileno()
            poll.register(number, select.POLLIN | (select.POLLOUT if number in links else 0))
        for number, happened in self._until(poll, [*links.values(), *([awaited] if awaited else [])]):
            if number in links and happened & ~select.POLLIN:
                links[number]._resend()

    def _resend(self) -> None:
        queue, self._unsent = self._unsent, []
        self._backlog.discard(self)
        for message in queue:
            self._hand_over(message)

    def _stalled(self) -> ProgramError:
        return ProgramError(
            f"{self._name} moved nothing for {STALL_SECONDS:g} s",
            "see that worker's log; its node is alive, but it makes no progress",
        )

    def _lost(self, error: OSError | None = None) -> ProgramError:
        detail = f": {error.strerror or error}" if error else ""
        return ProgramError(f"lost the connection to {self._name}{detail}", "see that worker's log for what ended it")


def tune(connection: socket.socket) -> None:
    """No delay, a send buffer for whole messages, and an error within seconds where an idle connection's other node is gone."""
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _BULK)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _CONGESTION)
    idle, interval, probes = _KEEPALIVE_SECONDS
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)
