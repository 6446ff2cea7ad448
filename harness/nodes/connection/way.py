"""A socket that leads to a node's SSH server: a connection of its own, or a command's stdin and stdout."""

from __future__ import annotations

import socket
import subprocess
import threading

from harness.nodes.connection.login import Login

_END_SECONDS = 2.0
_KEPT_BYTES = 1 << 14


class Way:
    """The way that a login says. A command on it ends when the socket is closed; what it printed is kept."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._said = b""
        self._reader: threading.Thread | None = None

    def open(self, limit_seconds: float) -> socket.socket:
        """The socket. Raises OSError."""
        login = self._login
        if not login.proxy:
            return socket.create_connection((login.address or login.host, login.port), limit_seconds)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = subprocess.Popen(
                    list(login.proxy),
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                raise
        self._reader = threading.Thread(target=self._follow, args=(process,), name="proxy", daemon=True)
        self._reader.start()
        return ours

    def said(self) -> str:
        """The end of what the command printed to stderr, once it has ended; empty for a way without one."""
        if self._reader is None:
            return ""
        self._reader.join(_END_SECONDS)
        return " ".join(self._said.decode(errors="replace").split())[-300:]

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        """Keep the end of what it says, and its exit status from staying unread."""
        if process.stderr is not None:
            for line in process.stderr:
                self._said = (self._said + line)[-_KEPT_BYTES:]
            process.stderr.close()
        process.wait()
