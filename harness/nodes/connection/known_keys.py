"""The host keys that a login believes, found by OpenSSH's own look-up: hashed names, ports and patterns too."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import paramiko

from harness.nodes.connection.login import Login
from harness.system.commands import find

_LIMIT_SECONDS = 10.0


def known_keys(login: Login) -> Iterator[tuple[str, paramiko.PKey]]:
    """Host keys of the login's host in its files, each with its type; of a key's type in turn.

    Raises OSError where a file cannot be read, and where none of them is there.
    """
    name = login.known_as or login.host
    if login.port != 22 and not login.known_as:
        name = f"[{name}]:{login.port}"
    files = [Path(file) for file in login.known_hosts]
    there = [file for file in files if file.exists()]
    if not there:
        raise FileNotFoundError(f"none of {', '.join(login.known_hosts)}")
    for file in there:
        with file.open("rb"):
            pass
        command = [find("ssh-keygen") or "ssh-keygen", "-F", name, "-f", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False)
        for line in done.stdout.splitlines():
            words = line.split()
            if line.startswith(("#", "@")) or len(words) < 3:
                continue
            with suppress(paramiko.SSHException, ValueError):
                entry = paramiko.hostkeys.HostKeyEntry.from_line(line)
                if entry is not None and entry.key is not None:
                    yield words[1], entry.key
