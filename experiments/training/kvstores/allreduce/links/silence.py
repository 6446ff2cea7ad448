"""Whether the other end of a connection still answers, by what the kernel knows of it (`TCP_INFO`, tcp(7)).

Not `TCP_USER_TIMEOUT`: that also ends a connection whose other end lives and has no room, as while it computes for long. And
keepalive says nothing while bytes are on the way.
"""

from __future__ import annotations

import socket
import struct

SILENT_SECONDS = 8.0
"""Without any answer to what was sent, sent again or probed."""
_UNANSWERED = (3, 2)
"""So many repeats of the same bytes, or probes of a full receiver: one may get lost on Wi-Fi."""
_REPEATS, _PROBES = 2, 3
"""Where in `struct tcp_info` (linux/tcp.h) these are: tcpi_retransmits and tcpi_probes, a byte each."""
_ANSWERED = struct.Struct("=56xI")
"""tcpi_last_ack_recv: milliseconds since the last answer."""


def is_gone(connection: socket.socket) -> bool:
    """Whether its other end has left everything unanswered for SILENT_SECONDS."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ANSWERED.size)
    asked = info[_REPEATS] >= _UNANSWERED[0] or info[_PROBES] >= _UNANSWERED[1]
    return asked and _ANSWERED.unpack(info)[0] >= SILENT_SECONDS * 1000
