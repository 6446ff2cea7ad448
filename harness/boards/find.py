"""Which addresses of a network have an SSH server, and whether a Raspberry Pi is behind them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness.system.ssh import greets

_AT_ONCE = 64
_LIMIT_SECONDS = 1.5
_NEIGHBOURS = Path("/proc/net/arp")
# The blocks of hardware addresses that the IEEE has given to Raspberry Pi.
_RASPBERRY_PI = ("28:cd:c1", "2c:cf:67", "88:a2:9e", "b8:27:eb", "d8:3a:dd", "dc:a6:32", "e4:5f:01")


@dataclass(frozen=True)
class Found:
    """An address where an SSH server greeted; `is_pi` where its hardware address is a Raspberry Pi's, `name` as it says."""

    address: str
    is_pi: bool
    name: str = ""


def find_boards(addresses: Sequence[str], port: int = 22) -> list[Found]:
    """Those of the addresses where an SSH server greets, each asked once, in the order given."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        greeted = list(pool.map(lambda address: greets(address, port, _LIMIT_SECONDS), addresses))
    hardware = neighbours(_NEIGHBOURS.read_text(encoding="ascii") if _NEIGHBOURS.exists() else "")
    return [
        Found(address, hardware.get(address, "").startswith(_RASPBERRY_PI))
        for address, answers in zip(addresses, greeted, strict=True)
        if answers
    ]


def neighbours(table: str) -> dict[str, str]:
    """Hardware addresses by IPv4 address, from the text of the kernel's table of neighbours."""
    rows = (line.split() for line in table.splitlines()[1:])
    return {row[0]: row[3].lower() for row in rows if len(row) > 3}


def is_this_machine(host: str) -> bool:
    """Whether a name or address is one of this machine's own: nothing else can be bound to."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except (OSError, UnicodeError):
        return False
    return True
