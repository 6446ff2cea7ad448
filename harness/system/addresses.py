"""This machine's addresses."""

from __future__ import annotations

import socket


def own_address(peer: str) -> str:
    """This machine's address on the way to another; nothing is sent. 127.0.0.1 where there is no way."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((peer, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
