"""SSH keys, a client that asks nothing, and whether a server answers."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from harness.errors import HarnessError
from harness.system.commands import find, run

_KEY_LIMIT_SECONDS = 60.0


def ensure_key(file: Path, comment: str, error: type[HarnessError]) -> Path:
    """Make the ed25519 key `file` (0600) and `file`.pub where one of them is missing; return `file`. Raises `error`."""
    public = file.with_name(file.name + ".pub")
    if not (file.is_file() and public.is_file()):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.unlink(missing_ok=True)
        run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", file],
            limit_seconds=_KEY_LIMIT_SECONDS,
            error=error,
        )
    return file


def client(key: Path, known_hosts: Path, connect_seconds: int, **further: str) -> list[str]:
    """An ssh command, to which host and command are appended: it asks nothing and trusts only what `known_hosts` pins.

    Nothing of the user's own configuration counts; `further` are more options of ssh_config by name.
    """
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "ConnectTimeout": str(connect_seconds),
        **further,
    }
    words = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return [find("ssh") or "ssh", "-F", "/dev/null", "-i", str(key), *words]


def greets(address: str, port: int = 22, limit_seconds: float = 5.0) -> bool:
    """Whether an SSH server greets at `address`, within `limit_seconds`; a connection alone is no sign of one."""
    with suppress(OSError), socket.create_connection((address, port), timeout=limit_seconds) as connection:
        connection.settimeout(limit_seconds)
        return connection.recv(4) == b"SSH-"
    return False
