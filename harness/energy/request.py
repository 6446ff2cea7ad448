"""Asks a plug once, within a limit of time and of bytes, whatever it does. No proxy is used, and no redirection followed."""

from __future__ import annotations

import base64
import http.client
import math
import secrets
import socket
import time
from typing import Any

from harness.contract.json_line import parse_json
from harness.energy.address import Plug
from harness.energy.devices import MeterError, path_of, watts_in
from harness.energy.digest import digest_answer

LIMIT_SECONDS = 3.0
MOST_BYTES = 64 * 1024


def ask(plug: Plug, limit_seconds: float = LIMIT_SECONDS) -> float:
    """The watts that a plug measures now. Raises MeterError, after the limit at the latest."""
    ends = time.monotonic() + limit_seconds
    try:
        return watts_in(plug, parse_json(_content(plug, ends)))
    except TimeoutError:
        raise MeterError(f"no answer within {limit_seconds:g} s") from None
    except OSError as error:
        raise MeterError(error.strerror or "it cannot be reached") from None
    except http.client.HTTPException:
        raise MeterError("its answer is no HTTP") from None
    except ValueError:
        raise MeterError("its answer cannot be read") from None


def _content(plug: Plug, ends: float) -> bytes:
    """The body of the answer, once the plug has let the user in."""
    path = path_of(plug)
    login = {"Authorization": _basic(plug)} if plug.kind == "shelly1" and plug.password else {}
    status, challenge, content = _get(plug, path, login, ends)
    if status == http.client.UNAUTHORIZED and plug.password and plug.kind == "shelly2":
        answer = digest_answer(challenge, plug.user, plug.password, path, secrets.token_hex(8))
        status, _, content = _get(plug, path, {"Authorization": answer}, ends)
    if status == http.client.UNAUTHORIZED:
        raise MeterError("it wants another user or password")
    if status != http.client.OK:
        raise MeterError(f"it answers with status {status}")
    if len(content) > MOST_BYTES:
        raise MeterError(f"its answer is longer than {MOST_BYTES >> 10} KiB")
    return content


def _basic(plug: Plug) -> str:
    return f"Basic {base64.b64encode(f'{plug.user}:{plug.password}'.encode()).decode()}"


def _get(plug: Plug, path: str, headers: dict[str, str], ends: float) -> tuple[int, str, bytes]:
    """Status, what it asks to prove, and at most one byte more than is allowed of the body."""
    connection = _Connection(plug.host, plug.port, ends)
    try:
        connection.request("GET", path, headers={"Connection": "close", **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("WWW-Authenticate", ""), answer.read(MOST_BYTES + 1)
    finally:
        connection.close()


class _Hurried(socket.socket):
    """A connection of which every receive ends by one moment, however few bytes come at a time."""

    ends = math.inf

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self.settimeout(_left(self.ends))
        return super().recv_into(buffer, nbytes, flags)


class _Connection(http.client.HTTPConnection):
    """One that must be over by a moment."""

    def __init__(self, host: str, port: int, ends: float) -> None:
        super().__init__(host, port)
        self._ends = ends

    def connect(self) -> None:
        """Connect to the first IPv4 address of the host."""
        address = socket.getaddrinfo(self.host, self.port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
        made = _Hurried(socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.ends = self._ends
            made.settimeout(_left(self._ends))
            made.connect(address)
        except BaseException:
            made.close()
            raise
        self.sock = made


def _left(ends: float) -> float:
    """Seconds until a moment. Raises TimeoutError where it is over."""
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
