"""What the user says of boards. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import BadInputError

MOST_ADDRESSES = 1024
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?")


@dataclass(frozen=True)
class Board:
    """One host of an inventory: what it is called there, and the name or IPv4 address that it is reached by."""

    name: str
    host: str


def read_boards(said: Sequence[str]) -> list[Board]:
    """The boards of `NAME=HOST`, `HOST` or a name alone; addresses without a name become `pi01`, `pi02` and so on.

    Raises BadInputError for what is no name or address, and for a name or a host that comes twice.
    """
    parts = [one.strip() for text in said for one in text.split(",") if one.strip()]
    pairs = [(name.strip(), host.strip()) for name, _, host in (each.rpartition("=") for each in parts)]
    digits = max(2, len(str(len(pairs))))
    boards = [
        Board(name or name_of(host) or f"pi{number:0{digits}}", host) for number, (name, host) in enumerate(pairs, 1)
    ]
    for board in boards:
        _check(board)
    for kind, words in (("name", [each.name for each in boards]), ("address", [each.host for each in boards])):
        twice = [word for word, count in Counter(words).items() if count > 1]
        if twice:
            raise BadInputError(f"two boards have the {kind} {twice[0]}", f"give each board a {kind} of its own")
    return boards


def network_of(text: str) -> ipaddress.IPv4Network:
    """An IPv4 network, such as `192.168.10.0/24`. Raises BadInputError."""
    try:
        return ipaddress.IPv4Network(text, strict=False)
    except ValueError as error:
        raise BadInputError(f"{text} is no IPv4 network: {error}", "write it like 192.168.10.0/24") from None


def addresses_of(network: str) -> list[str]:
    """Every host's address in an IPv4 network. Raises BadInputError."""
    found = network_of(network)
    if found.num_addresses > MOST_ADDRESSES:
        raise BadInputError(
            f"{network} has {found.num_addresses:,} addresses", f"name a network of at most {MOST_ADDRESSES:,}"
        )
    return [str(address) for address in found.hosts()]


def is_ipv4(text: str) -> bool:
    """Whether it is an IPv4 address."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def name_of(host: str) -> str:
    """The first part of a host's name, as a board's name; empty for an address."""
    return "" if is_ipv4(host) else host.split(".", maxsplit=1)[0].lower()


def names_of(hosts: Sequence[str]) -> list[str]:
    """What boards with these host names are called; empty for one that is not fit for a name, or that comes twice."""
    names = [name_of(host) for host in hosts]
    return [name if _NAME.fullmatch(name) and names.count(name) == 1 else "" for name in names]


def _check(board: Board) -> None:
    if ":" in board.host:
        raise BadInputError(f"{board.name}: {board.host} is an IPv6 address", "write the board's IPv4 address")
    if not is_ipv4(board.host) and (not _HOST.fullmatch(board.host) or re.fullmatch(r"[\d.]+", board.host)):
        raise BadInputError(f"{board.host} is no name and no IPv4 address", "write a board as NAME=ADDRESS")
    if not _NAME.fullmatch(board.name):
        raise BadInputError(
            f"a board cannot be called {board.name}", "use small letters, digits and hyphens, as in pi01=192.168.10.11"
        )
