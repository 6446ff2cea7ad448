"""The way to any other node: Fabric over SSH, host keys checked."""

from __future__ import annotations

import contextlib
import shlex
import socket
import threading
import time
import warnings
from collections.abc import Sequence

with warnings.catch_warnings():  # paramiko's cryptography warns of ciphers that nobody chose
    warnings.simplefilter("ignore")
    import fabric
    import paramiko

from harness.errors import NodeError
from harness.nodes.connection.dial import dial
from harness.nodes.inventory import Node
from harness.nodes.stream import SLOW_REMEDY, Stream, StreamClosedError
from harness.nodes.transport import Transport, transfer_seconds

CONNECT_TIMEOUT_SECONDS = 10
ALIVE_TIMEOUT_SECONDS = 2
SESSIONS_REMEDY = "set MaxSessions 10 in the node's /etc/ssh/sshd_config, and restart its ssh"


class _SshStream(Stream):
    def __init__(self, channel: paramiko.Channel) -> None:
        super().__init__()
        self._channel = channel

    def write(self, data: bytes) -> None:
        left, until = memoryview(data), time.monotonic() + transfer_seconds(len(data))
        try:
            while left:  # `sendall` would have a limit on each piece only
                self._channel.settimeout(max(0.01, until - time.monotonic()))
                left = left[self._channel.send(left[: 1 << 18].tobytes()) :]
        except socket.timeout:  # noqa: UP041 - paramiko's word
            raise StreamClosedError(
                f"it did not take {len(data)} bytes within {transfer_seconds(len(data)):.0f} s"
            ) from None
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


def _execute(channel: paramiko.Channel, command: str) -> None:
    """Ask for a command to be run. Paramiko waits for the answer without a limit; a closed channel ends that wait."""
    late = threading.Event()

    def give_up() -> None:
        late.set()
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            channel.close()

    limit = threading.Timer(CONNECT_TIMEOUT_SECONDS, give_up)
    limit.daemon = True
    limit.start()
    try:
        channel.exec_command(command)
    except paramiko.SSHException:
        if late.is_set():
            raise TimeoutError(f"no answer within {CONNECT_TIMEOUT_SECONDS} s") from None
        raise
    finally:
        limit.cancel()


class SshTransport(Transport):
    """A Fabric connection, made when it is first needed."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._connection: fabric.Connection | None = None
        self._first = True
        # Several threads start commands on one node; only one of them may connect.
        self._lock = threading.RLock()

    def open(self, command: Sequence[str]) -> Stream:
        """Start a command in a channel of the connection, connecting first where need be."""
        with self._lock:
            connection = self._connected()
        try:
            channel = connection.transport.open_session(timeout=CONNECT_TIMEOUT_SECONDS)
            _execute(channel, shlex.join(command))
        except paramiko.ChannelException as error:
            # The connection is well, and others use it.
            reason = f"its SSH server allows no further session: {error}"
            raise NodeError(self.node.name, reason, SESSIONS_REMEDY) from None
        except (OSError, EOFError, paramiko.SSHException) as error:
            self._drop(connection)
            reason = f"cannot start a command: {error or type(error).__name__}"
            raise NodeError(self.node.name, reason, SLOW_REMEDY) from None
        return _SshStream(channel)

    def sessions(self, most: int) -> int:
        """How many sessions the node allows at once, of those that were asked for. Raises NodeError."""
        with self._lock:
            connection = self._connected()
        channels: list[paramiko.Channel] = []
        try:
            for _ in range(most):
                channels.append(connection.transport.open_session(timeout=CONNECT_TIMEOUT_SECONDS))
        except paramiko.ChannelException:
            pass
        except (OSError, EOFError, paramiko.SSHException) as error:
            reason = f"cannot open a session: {error or type(error).__name__}"
            raise NodeError(self.node.name, reason, SLOW_REMEDY) from None
        finally:
            for channel in channels:
                channel.close()
        return len(channels)

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
        login = self.node.login
        # A node that was there is looked for once: who waits for it asks again.
        attempts = login.attempts if login and self._first else 1
        self._connection = dial(self.node, attempts, login.connect_seconds if login else CONNECT_TIMEOUT_SECONDS)
        self._first = False
        return self._connection
