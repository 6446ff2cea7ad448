"""One way to run a command or copy a file on a node: Fabric over SSH, or a local process.

Nothing above this module knows which of them it talks to.
"""

from __future__ import annotations

import contextlib
import io
import select
import shlex
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import fabric
import paramiko

from harness.errors import BadInputError, NodeError
from harness.inventory import Cluster, Node
from harness.json_line import Json
from harness.stream import Stream, StreamClosedError
from harness.virtual.namespace import enter_network_namespace

CONNECT_TIMEOUT_SECONDS = 10
REPLY_TIMEOUT_SECONDS = 60
ALIVE_TIMEOUT_SECONDS = 2
KEEPALIVE_SECONDS = 15
DEAD_AFTER_SECONDS = 20


class Transport(ABC):
    """A way to one node."""

    def __init__(self, node: Node) -> None:
        self.node = node

    @abstractmethod
    def open(self, command: Sequence[str]) -> Stream:
        """Start a command and return its streams; raises NodeError."""

    @abstractmethod
    def close(self) -> None:
        """Drop the connection."""

    @abstractmethod
    def close_if_dead(self) -> None:
        """Drop a connection over which a command's stream was cut, so that the next command makes a new one."""

    def request(
        self, command: Sequence[str], message: Json, payload: bytes = b"", timeout: float = REPLY_TIMEOUT_SECONDS
    ) -> Json:
        """Run a command that reads one JSON line (and `payload`) and answers one.

        Raises NodeError when it does not answer in time, or answers something else.
        """
        stream = self.open(command)
        try:
            stream.send_line(message, payload)
            found = stream.read_frame(timeout)
            if found is None:
                raise StreamClosedError(stream.errors().strip()[-500:] or "no answer")
        except TimeoutError:
            raise NodeError(self.node.name, f"no answer within {timeout:.0f} s") from None
        except StreamClosedError as error:
            raise NodeError(
                self.node.name, f"{error}", "is the node provisioned? ansible-playbook ansible/playbooks/site.yml"
            ) from None
        finally:
            stream.close()
        return found[0]


# --- local ---


class _LocalStream(Stream):
    def __init__(self, command: Sequence[str]) -> None:
        super().__init__()
        self._process = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )

    def write(self, data: bytes) -> None:
        stdin = cast(io.BufferedWriter, self._process.stdin)
        try:
            stdin.write(data)
            stdin.flush()
        except (OSError, ValueError) as error:
            raise StreamClosedError(str(error)) from None

    def _read(self, timeout: float) -> bytes:
        stdout = cast(io.BufferedReader, self._process.stdout)
        try:
            readable, _, _ = select.select([stdout], [], [], timeout)
        except ValueError as error:
            raise StreamClosedError(str(error)) from None
        if not readable:
            raise TimeoutError
        return stdout.read1(1 << 18)

    def errors(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        stderr = cast(io.BufferedReader, self._process.stderr)
        return stderr.read1(1 << 16).decode(errors="replace") if self._process.poll() is not None else ""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            cast(io.BufferedWriter, self._process.stdin).close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()


class LocalTransport(Transport):
    """The node is this machine."""

    def open(self, command: Sequence[str]) -> Stream:
        """Start the command as a child process."""
        try:
            return _LocalStream(command)
        except OSError as error:
            raise NodeError(self.node.name, f"cannot run {command[0]}: {error}") from None

    def close(self) -> None:
        """Nothing to drop."""

    def close_if_dead(self) -> None:
        """Nothing to drop."""


# --- SSH ---


class _SshStream(Stream):
    def __init__(self, channel: paramiko.Channel) -> None:
        super().__init__()
        self._channel = channel

    def write(self, data: bytes) -> None:
        try:
            self._channel.settimeout(REPLY_TIMEOUT_SECONDS)
            self._channel.sendall(data)
        except (OSError, paramiko.SSHException) as error:
            raise StreamClosedError(str(error)) from None

    def _read(self, timeout: float) -> bytes:
        self._channel.settimeout(timeout)
        try:
            data = self._channel.recv(1 << 18)
        except socket.timeout:  # noqa: UP041 - paramiko's word
            raise TimeoutError from None
        except (OSError, paramiko.SSHException) as error:
            raise StreamClosedError(str(error)) from None
        if not data and not self._channel.exit_status_ready() and not self._channel.get_transport().is_active():
            raise StreamClosedError("the connection was lost")
        return data

    def errors(self) -> str:
        deadline = time.monotonic() + 2
        while not self._channel.exit_status_ready() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._channel.settimeout(1)
        with contextlib.suppress(OSError):
            return self._channel.recv_stderr(1 << 16).decode(errors="replace")
        return ""

    def close(self) -> None:
        self._channel.close()


class SshTransport(Transport):
    """A Fabric connection that knows the node's pinned host key and accepts no other."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._connection: fabric.Connection | None = None
        # Several threads start commands on one node; only one of them may connect.
        self._lock = threading.RLock()

    def open(self, command: Sequence[str]) -> Stream:
        """Start a command in a channel of the connection, connecting first where need be."""
        with self._lock:
            connection = self._connected()
        try:
            channel = connection.transport.open_session(timeout=CONNECT_TIMEOUT_SECONDS)
            channel.exec_command(shlex.join(command))
        except (OSError, EOFError, paramiko.SSHException) as error:
            self._drop(connection)
            raise NodeError(self.node.name, f"cannot start a command: {error or type(error).__name__}") from None
        return _SshStream(channel)

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            self._drop(self._connection)

    def close_if_dead(self) -> None:
        """Drop the connection unless it still answers."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.transport.open_session(timeout=ALIVE_TIMEOUT_SECONDS).close()
        except (OSError, EOFError, paramiko.SSHException, AttributeError):
            self._drop(connection)

    def _drop(self, connection: fabric.Connection) -> None:
        """Close a connection that failed; another thread may have made a new one since, which stays."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException, AttributeError):
            connection.close()
        if self._connection is connection:
            self._connection = None

    def _connected(self) -> fabric.Connection:
        if self._connection is not None and self._connection.is_connected:
            return self._connection
        self.close()
        node = self.node
        config = fabric.Config(overrides={"load_ssh_configs": False})
        arguments: Json = {
            "banner_timeout": CONNECT_TIMEOUT_SECONDS,
            "auth_timeout": CONNECT_TIMEOUT_SECONDS,
        }
        if node.key_file:
            arguments |= {"key_filename": node.key_file, "look_for_keys": False, "allow_agent": False}
        connection = fabric.Connection(
            node.address,
            user=node.user,
            port=node.ssh_port,
            config=config,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            connect_kwargs=arguments,
        )
        # Fabric would accept any unknown key.
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        remedy = f"ssh -o UserKnownHostsFile={node.known_hosts} {node.user or ''}@{node.address}"
        try:
            connection.client.load_host_keys(node.known_hosts or "")
        except OSError:
            raise NodeError(
                node.name, f"its host key file {node.known_hosts} cannot be read", "pin the nodes' host keys there"
            ) from None
        try:
            connection.open()
        except paramiko.BadHostKeyException:
            raise NodeError(
                node.name,
                f"the host key of {node.address} is not the pinned one",
                f"replace its key in {node.known_hosts} if the node was set up anew; otherwise another machine answers",
            ) from None
        except paramiko.AuthenticationException as error:
            raise NodeError(node.name, f"login as {node.user} was refused: {error}", remedy) from None
        except (OSError, EOFError, paramiko.SSHException) as error:
            if "not found in known_hosts" in str(error):
                raise NodeError(
                    node.name,
                    f"the host key of {node.address} is not in {node.known_hosts}",
                    "pin it there, having compared it with the node's own",
                ) from None
            raise NodeError(
                node.name,
                f"cannot be reached at {node.address}: {error}",
                f"is it powered and on the network? {remedy}",
            ) from None
        # Paramiko has waits without a limit; a connection whose other end is gone must end them.
        connection.transport.set_keepalive(KEEPALIVE_SECONDS)
        connection.transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER_SECONDS * 1000)
        self._connection = connection
        return connection


# --- clusters ---


class Session:
    """Transports to nodes, opened when first needed and kept for the length of a command."""

    def __init__(self, cluster: Cluster) -> None:
        if cluster.network_namespace:
            enter_network_namespace(cluster.network_namespace)
        self._transports: dict[str, Transport] = {}
        self._parked: dict[str, Stream] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def to(self, node: Node) -> Transport:
        """The transport to a node."""
        if node.name not in self._transports:
            self._transports[node.name] = LocalTransport(node) if node.local else SshTransport(node)
        return self._transports[node.name]

    def park(self, node: Node, stream: Stream) -> None:
        """Keep a node's waiting agent for whoever asks it next."""
        earlier, self._parked[node.name] = self._parked.get(node.name), stream
        if earlier:
            earlier.close()

    def unpark(self, node: Node) -> Stream | None:
        """A node's waiting agent, if there is one."""
        return self._parked.pop(node.name, None)

    def close(self) -> None:
        """Drop every connection."""
        for stream in self._parked.values():
            stream.close()
        self._parked.clear()
        for transport in self._transports.values():
            transport.close()
        self._transports.clear()


def on_all(
    nodes: Sequence[Node], action: Callable[[Node], Any], limits: Mapping[str, float] | None = None
) -> Iterator[tuple[Node, Any]]:
    """Call `action(node)` for all nodes at once; yields each node with its result or its NodeError, in order.

    `limits` says by node for how many seconds its result is waited for. The threads are daemons: a node that hangs does
    not keep an interrupted harness from ending.
    """
    if not nodes:
        raise BadInputError("no nodes")
    began = time.monotonic()
    calls = [_Call(action, node) for node in nodes]
    for call in calls:
        call.start()
    for node, call in zip(nodes, calls, strict=True):
        limit = (limits or {}).get(node.name)
        call.join(None if limit is None else max(0.0, began + limit - time.monotonic()))
        if call.is_alive():
            yield node, NodeError(node.name, f"no answer within {limit:.0f} s")
        elif call.fault is not None and not isinstance(call.fault, NodeError):
            raise call.fault
        else:
            yield node, call.fault or call.result


class _Call(threading.Thread):
    """One call in a thread of its own, with what came of it."""

    def __init__(self, action: Callable[[Node], Any], node: Node) -> None:
        super().__init__(name=f"ask-{node.name}", daemon=True)
        self._action = action
        self._node = node
        self.result: Any = None
        self.fault: Exception | None = None

    def run(self) -> None:
        try:
            self.result = self._action(self._node)
        except Exception as error:
            self.fault = error
