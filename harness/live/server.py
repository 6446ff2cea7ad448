"""The server of a run's page: on loopback, GET alone, and only what it makes itself. No part of a request becomes a path."""

from __future__ import annotations

import errno
import json
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from types import TracebackType
from typing import Any

from harness.contract.json_line import Json
from harness.display.stylesheet import stylesheet
from harness.errors import BadInputError
from harness.live.state import not_begun

ADDRESS = "127.0.0.1"
# A page of another site whose name was made to lead here says that name (DNS rebinding). Ports differ behind `ssh -L`.
_HOSTS = (ADDRESS, "localhost")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_SILENT_SECONDS = 10
MOST_CONNECTIONS = 32
_FRESH_SECONDS = 0.3
_LOOK_SECONDS = 0.2
"""How often it looks whether it is to end."""


class LiveServer:
    """Serves the page while the block lasts, from threads of its own; afterwards none is left."""

    def __init__(self, port: int = 0) -> None:
        """Listen on a port of loopback, 0 for one that is free. Raises BadInputError where it cannot be had."""
        self._answers = _Answers()
        try:
            self._server = _Server(port, self._answers)
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had: {error.strerror or error}"
            raise BadInputError(
                f"port {port} of {ADDRESS} {why}", "name another with --port, or leave it out and get one that is free"
            ) from None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_LOOK_SECONDS,), name="live page")

    @property
    def url(self) -> str:
        """Where the page is. Who does not know its path, such as another user of this machine, gets nothing."""
        return f"http://{ADDRESS}:{self._server.server_address[1]}{self._answers.root}"

    def show(self, document: Callable[[], Json]) -> None:
        """From now on show what this returns; it is called when a page asks, never by two threads at once."""
        self._answers.show(document)

    def __enter__(self) -> LiveServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()


class _Answers:
    """What is at which path."""

    def __init__(self) -> None:
        # Every user of this machine reaches its loopback. The path is the password.
        self.root = f"/{secrets.token_urlsafe(16)}/"
        page = files("harness.live").joinpath("page")
        sheet = stylesheet() + page.joinpath("live.css").read_text(encoding="utf-8")
        self._fixed = {
            "": ("text/html", page.joinpath("page.html").read_bytes()),
            "live.css": ("text/css", sheet.encode()),
            "live.js": ("text/javascript", page.joinpath("live.js").read_bytes()),
        }
        self._lock = threading.Lock()
        self._document: Callable[[], Json] = not_begun
        self._state = b""
        self._made: float | None = None

    def show(self, document: Callable[[], Json]) -> None:
        with self._lock:
            self._document, self._made = document, None

    def at(self, path: str) -> tuple[str, bytes] | None:
        """Type and content of what is at a path; None where nothing is."""
        if not secrets.compare_digest(path[: len(self.root)].encode(), self.root.encode()):
            return None
        name = path[len(self.root) :]
        return ("application/json", self._made_state()) if name == "state.json" else self._fixed.get(name)

    def _made_state(self) -> bytes:
        """The document as JSON; several pages share one that is fresh."""
        with self._lock:
            now = time.monotonic()
            if self._made is None or now - self._made > _FRESH_SECONDS:
                self._state = json.dumps(self._document(), allow_nan=False).encode()
                self._made = now
            return self._state


class _Server(socketserver.ThreadingTCPServer):
    """Threads that it waits for at its end; `hang_up` makes them end."""

    allow_reuse_address = True
    daemon_threads = False
    block_on_close = True
    request_queue_size = 2 * MOST_CONNECTIONS

    def __init__(self, port: int, answers: _Answers) -> None:
        self.answers = answers
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__((ADDRESS, port), _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether one connection more is taken."""
        with self._guard:
            if len(self._open) >= MOST_CONNECTIONS:
                return False
            self._open.add(request)
            return True

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End all connections, so that nobody waits for what a client will not send."""
        with self._guard:
            for request in self._open:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no error; others have been answered."""


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: _Server
    server_version, sys_version = "harness", ""
    timeout = _SILENT_SECONDS

    def do_GET(self) -> None:
        """Answer with what is at the path, to who has come by this server's name alone."""
        if not self._is_for_us():
            self._refuse(HTTPStatus.FORBIDDEN, f"This server is {' or '.join(_HOSTS)}, and nothing else.")
            return
        try:
            found = self.server.answers.at(self.path.partition("?")[0])
        except Exception as error:  # whatever it is, the page says it, and the sweep goes on
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"The state cannot be told: {type(error).__name__}: {error}")
            return
        if found is None:
            self._refuse(HTTPStatus.NOT_FOUND, "Nothing is here. The address of the page is what the harness printed.")
            return
        kind, content = found
        self._answer(HTTPStatus.OK, kind, content)

    def _not_allowed(self) -> None:
        self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "This server answers GET alone.", Allow="GET")

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _not_allowed  # noqa: N815 - http.server's names

    def _is_for_us(self) -> bool:
        """Whether the one Host header names this server, at any port."""
        named = self.headers.get_all("Host") or []
        return len(named) == 1 and named[0].strip().lower().partition(":")[0] in _HOSTS

    def _refuse(self, status: HTTPStatus, why: str, **headers: str) -> None:
        self._answer(status, "text/plain", f"{why}\n".encode(errors="replace"), **headers)

    def _answer(self, status: HTTPStatus, kind: str, content: bytes, **headers: str) -> None:
        self.send_response(status)
        headers |= {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(content))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def end_headers(self) -> None:
        """End the headers of any answer, also of those that the base class makes."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Requests are not printed: the terminal is the sweep's."""
