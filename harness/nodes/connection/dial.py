"""A Fabric connection to a node as its login says: the way there, whose host key is believed, what it proves itself with."""

from __future__ import annotations

import getpass
import logging
import os
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

with warnings.catch_warnings():  # paramiko's cryptography warns of ciphers that nobody chose
    warnings.simplefilter("ignore")
    import fabric
    import paramiko

from harness.errors import NodeError
from harness.nodes.connection.keys import Credentials
from harness.nodes.connection.known_keys import known_keys
from harness.nodes.connection.login import Login
from harness.nodes.connection.way import Way
from harness.nodes.inventory import Node

KEEPALIVE_SECONDS = 15
DEAD_AFTER_SECONDS = 20
_LONGEST_PAUSE_SECONDS = 30.0
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
_KEYS = ("id_rsa", "id_ecdsa", "id_ed25519")

# What goes wrong with a connection is said once, by what we raise: paramiko would print tracebacks of its threads.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False


class UnreachableError(NodeError):
    """There was no connection; a further attempt may have one."""


class _HostKeys(paramiko.MissingHostKeyPolicy):
    """Judges the key that a server shows."""

    def __init__(self, login: Login) -> None:
        self._checking = login.checking
        self.known: list[tuple[str, paramiko.PKey]] = [] if login.checking == "no" else list(_known(login))

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Return where the key is believed. Raises _UnknownKeyError or _OtherKeyError."""
        if self._checking == "no" or any(key == each for _, each in self.known):
            return
        if self.known:
            raise _OtherKeyError
        if self._checking != "accept-new":
            raise _UnknownKeyError

    def transport(self, sock: socket.socket, disabled_algorithms: Any = None) -> paramiko.Transport:
        """A transport that asks the server for a key of a known type first."""
        made = paramiko.Transport(sock, disabled_algorithms=disabled_algorithms)
        options = made.get_security_options()
        types = {
            name
            for kind, _ in self.known
            for name in (("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,))
        }
        options.key_types = sorted(options.key_types, key=lambda name: name not in types)
        return made


class _UnknownKeyError(paramiko.SSHException):
    pass


class _OtherKeyError(paramiko.SSHException):
    pass


def _known(login: Login) -> Iterator[tuple[str, paramiko.PKey]]:
    """What is known; nothing where no file is there and none is needed."""
    try:
        yield from known_keys(login)
    except FileNotFoundError:
        if login.checking != "accept-new":
            raise


def login_to(node: Node) -> Login:
    """A node's login; where it was not read from an inventory, one of the node's address, key and pinned host keys alone."""
    return node.login or Login(
        target=node.address,
        host=node.address,
        port=node.ssh_port,
        user=node.user or getpass.getuser(),
        keys=(node.key_file,) if node.key_file else tuple(str(Path.home() / ".ssh" / name) for name in _KEYS),
        only_these_keys=bool(node.key_file),
        agent=None if node.key_file else os.environ.get("SSH_AUTH_SOCK"),
        known_hosts=(node.known_hosts or "",),
    )


def dial(node: Node, attempts: int, limit_seconds: float) -> fabric.Connection:
    """Connect and log in, as often as `attempts` says with longer and longer pauses, as Ansible's are.

    Raises NodeError: what is refused is not tried again.
    """
    for attempt in range(attempts):
        try:
            return _connected(node, login_to(node), limit_seconds)
        except UnreachableError:
            if attempt + 1 == attempts:
                raise
            time.sleep(min(2**attempt, _LONGEST_PAUSE_SECONDS))
    raise ValueError("no attempt")


def _connected(node: Node, login: Login, limit_seconds: float) -> fabric.Connection:
    pinned = login.known_hosts[0] if login.known_hosts else "no file"
    try:
        judge = _HostKeys(login)
    except OSError:
        reason = f"its host key file {pinned} cannot be read"
        raise NodeError(node.name, reason, "pin the nodes' host keys there") from None
    except subprocess.TimeoutExpired as error:
        reason = f"its host keys cannot be looked up: {error}"
        raise NodeError(node.name, reason, f"does ssh-keygen answer here? ssh-keygen -F {node.address}") from None
    credentials = Credentials(login)
    arguments = {
        "banner_timeout": limit_seconds,
        "auth_timeout": limit_seconds,
        "auth_strategy": credentials,
        "transport_factory": judge.transport,
    }
    remedy = _by_hand(node, login)
    way = Way(login)
    try:
        arguments["sock"] = way.open(limit_seconds)
        connection = fabric.Connection(
            login.host,
            user=login.user or None,
            port=login.port,
            config=fabric.Config(overrides={"load_ssh_configs": False}),
            connect_timeout=limit_seconds,
            connect_kwargs=arguments,
        )
        connection.client.set_missing_host_key_policy(judge)  # Fabric would accept any unknown key
        connection.open()
    except _OtherKeyError:
        raise NodeError(
            node.name,
            f"the host key of {login.host} is not the pinned one",
            f"replace its key in {pinned} if the node was set up anew; otherwise another machine answers",
        ) from None
    except _UnknownKeyError:
        raise NodeError(
            node.name, f"the host key of {login.host} is not in {pinned}",
            "pin it there, having compared it with the node's own",
        ) from None  # fmt: skip
    except paramiko.AuthenticationException as error:
        raise _refused(node, login, credentials, error, remedy) from None
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise UnreachableError(
            node.name,
            f"cannot be reached at {login.host}: {way.said() or error or type(error).__name__}",
            f"is it powered and on the network? {remedy}",
        ) from None
    finally:
        credentials.close()
    # Paramiko has waits without a limit; a connection whose other end is gone must end them.
    connection.transport.set_keepalive(KEEPALIVE_SECONDS)
    if not login.proxy:
        connection.transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER_SECONDS * 1000)
    return connection


def _refused(
    node: Node, login: Login, credentials: Credentials, error: paramiko.AuthenticationException, remedy: str
) -> NodeError:
    """What became of the login: refused, or cut in the middle of it."""
    tried = [each.result for each in getattr(error, "result", ())]
    if tried and not isinstance(tried[-1], paramiko.AuthenticationException):
        return UnreachableError(node.name, f"cannot be reached at {login.host}: {tried[-1]}", remedy)
    # Of a password that was typed in vain, not that a further method is not there.
    tried = [each for each in tried if not isinstance(each, paramiko.BadAuthenticationType)] or tried
    if not tried:
        reason = "; ".join(credentials.obstacles) or "there is no key and no password to prove it with"
    else:
        reason = "; ".join([f"{tried[-1]}", *credentials.obstacles])
    return NodeError(node.name, f"login as {login.user} was refused: {reason}", remedy)


def _by_hand(node: Node, login: Login) -> str:
    """The command with which a person sees what happens."""
    known = f" -o UserKnownHostsFile={login.known_hosts[0]}" if login.known_hosts and node.login is None else ""
    port = f" -p {login.port}" if login.port != 22 else ""
    return f"ssh{known}{port} {login.user}@{login.target}".replace(" @", " ")
