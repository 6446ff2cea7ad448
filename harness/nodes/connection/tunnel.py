"""The command with which a person reaches a port that listens on a node's loopback address alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness.nodes.connection.dial import login_to
from harness.nodes.connection.login import Login
from harness.nodes.inventory import Node

_LOOPBACK = "127.0.0.1"
_USUAL = ("~/.ssh/id_", "~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
"""How files begin that ssh looks for by itself."""


def tunnel(node: Node, port: int, here: int | None = None, namespace: str | None = None) -> str | None:
    """An ssh command that makes the node's port one of this machine's loopback address: the same, or `here`.

    It has no password in it; ssh asks. `namespace` is the network namespace in which the node is reached: the tunnel begins
    outside of it, where the browser is, and its connection inside. None for a node that is this machine: there the port is
    reached as it is.
    """
    if node.local:
        return None
    login = login_to(node)
    destination = f"{login.user}@{login.target}" if login.user else login.target
    if namespace:  # to the node's SSH server, by a connection to it from inside
        inner = ["ssh", *_options(login), "-W", f"{_LOOPBACK}:{login.port}", destination]
        login = replace(login, proxy=("ip", "netns", "exec", namespace, *inner))
    forward = f"{_LOOPBACK}:{here or port}:{_LOOPBACK}:{port}"
    return shlex.join(["ssh", "-N", "-L", forward, *_options(login), destination])


def _options(login: Login) -> Iterator[str]:
    """How the harness itself logs in, in ssh's words."""
    if login.port != 22:
        yield from ("-p", str(login.port))
    for key in login.keys:
        if not _is_usual(key) and Path(key).exists():
            yield from ("-i", key)
    if login.only_these_keys:
        yield from ("-o", "IdentitiesOnly=yes")
    files = [file for file in login.known_hosts if file]
    if not all(map(_is_usual, files)):
        yield from ("-o", "UserKnownHostsFile=" + " ".join(f'"{file}"' for file in files))
    if login.known_as:
        yield from ("-o", f"HostKeyAlias={login.known_as}")
    if login.proxy:
        yield from ("-o", f"ProxyCommand={shlex.join(login.proxy)}")


def _is_usual(file: str) -> bool:
    return any(file.startswith(str(Path(begin).expanduser())) for begin in _USUAL)
