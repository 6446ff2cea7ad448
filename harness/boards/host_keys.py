"""Host keys as boards show them now, and their fingerprints for a person to compare."""

from __future__ import annotations

import base64
import binascii
import hashlib
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from harness.boards.board import Board
from harness.errors import BadInputError, NodeError
from harness.system.commands import find

_AT_ONCE = 16
_CONNECT_SECONDS = 5
_LIMIT_SECONDS = 30.0
_BEST_FIRST = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")


@dataclass(frozen=True)
class HostKey:
    """A board's key: its line of known_hosts, its type, and the fingerprint that `ssh-keygen -l` prints."""

    board: Board
    line: str
    kind: str
    fingerprint: str


def host_keys(boards: Sequence[Board], port: int = 22) -> list[HostKey]:
    """The best key of each board, all asked at once.

    Raises NodeError where some show none, and BadInputError without OpenSSH.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda board: _key_of(board, port), boards))
    silent = [board for board, key in zip(boards, found, strict=True) if key is None]
    if silent:
        names = ", ".join(f"{board.name} ({board.host})" for board in silent)
        raise NodeError(
            names,
            f"no SSH server shows a host key on port {port}",
            "switch the boards on and enable SSH on them, or leave them out; --no-host-keys asks no board",
        )
    return [key for key in found if key is not None]


def read_keys(board: Board, text: str) -> list[HostKey]:
    """The keys in what ssh-keyscan printed, the best type first; what is none is passed over."""
    keys = []
    for line in text.splitlines():
        words = line.split()
        if line.startswith("#") or len(words) != 3:
            continue
        try:
            blob = base64.b64decode(words[2], validate=True)
        except (binascii.Error, ValueError):
            continue
        printed = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
        keys.append(HostKey(board, line, words[1], f"SHA256:{printed}"))
    return sorted(keys, key=lambda key: _BEST_FIRST.index(key.kind) if key.kind in _BEST_FIRST else len(_BEST_FIRST))


def _key_of(board: Board, port: int) -> HostKey | None:
    command = [find("ssh-keyscan") or "ssh-keyscan", "-T", str(_CONNECT_SECONDS), "-p", str(port), board.host]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False)
    except FileNotFoundError:
        raise BadInputError("command not found: ssh-keyscan", "install the package openssh-client") from None
    except subprocess.TimeoutExpired:
        return None
    return next(iter(read_keys(board, done.stdout)), None)
