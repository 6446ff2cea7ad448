"""A simulated plug: a small HTTP server on loopback that answers as the devices' public documents say, or misbehaves."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

Mood = Literal["well", "silent", "dripping", "garbage", "huge", "elsewhere", "broken", "no HTTP", "invalid"]

REALM, NONCE = "shellyplusplugs-a8032ab12345", "60dc2c69"


class Plug:
    """While entered, a plug that draws `watts`, or what a function of time says; `mood` can be changed at any time."""

    def __init__(self, watts: float | Callable[[], float] = 3.5, user: str = "admin", password: str = "") -> None:
        self.watts = watts
        self.user = user
        self.password = password
        self.mood: Mood = "well"
        self.asked: list[str] = []
        """The paths that were asked for, and answered or not."""
        self.ending = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return int(self._server.server_address[1])

    def address(self, kind: str, rest: str = "/0", login: str = "") -> str:
        """Its address as a meter of some kind."""
        return f"{kind}://{login}127.0.0.1:{self.port}{rest}"

    @property
    def now(self) -> float:
        """What it draws now."""
        return self.watts() if callable(self.watts) else self.watts

    def __enter__(self) -> Plug:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, plug: Plug) -> None:
        self.plug = plug
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        plug = self.server.plug
        plug.asked.append(self.path)
        if plug.mood == "silent":
            plug.ending.wait(30)
        elif plug.mood == "dripping":
            self._drip()
        elif plug.mood == "no HTTP":
            self.wfile.write(b"\xff\xfe 123\r\n\r\n")
        elif plug.mood == "broken":
            self._send(500, b"{}")
        elif plug.mood == "elsewhere":
            self._send(302, b"", Location=f"http://127.0.0.1:{plug.port}/elsewhere")
        elif plug.mood == "garbage":
            self._send(200, b'{"apower": [' * 5000)
        elif plug.mood == "huge":
            self._send(200, b" " * (1 << 20))
        elif not self._lets_in():
            challenge = f'Digest qop="auth", realm="{REALM}", nonce="{NONCE}", algorithm=SHA-256'
            gen2 = self.path.startswith("/rpc/")
            self._send(401, b"", **{"WWW-Authenticate": challenge if gen2 else 'Basic realm="plug"'})
        else:
            found = self._answer()
            self._send(200 if found is not None else 404, json.dumps(found or {}).encode())

    def _answer(self) -> dict[str, Any] | None:
        """What the device of each path says; one channel that draws and a second that draws twice as much."""
        plug, asked = self.server.plug, urlsplit(self.path)
        query = parse_qs(asked.query)
        if found := re.fullmatch(r"/meter/([01])", asked.path):
            power = plug.now * (1 + int(found[1]))
            counters = {"timestamp": int(time.time()), "counters": [power, power, power], "total": 12345}
            return {"power": power, "overpower": 0.0, "is_valid": plug.mood != "invalid", **counters}
        if asked.path == "/rpc/Switch.GetStatus" and query.get("id") in (["0"], ["1"]):
            channel = int(query["id"][0])
            energy = {"total": 11.68, "by_minute": [0.0, 0.0, 0.0], "minute_ts": int(time.time())}
            power = (
                {}
                if plug.mood == "invalid"
                else {"apower": plug.now * (1 + channel), "voltage": 230.1, "current": 0.02}
            )
            return {
                "id": channel,
                "source": "init",
                "output": True,
                **power,
                "aenergy": energy,
                "temperature": {"tC": 44.2},
            }
        if asked.path == "/cm" and query.get("cmnd") == ["Status 10"]:
            power = {} if plug.mood == "invalid" else {"Power": plug.now}
            energy = {"TotalStartTime": "2026-01-01T00:00:00", "Total": 1.2, **power, "Voltage": 231, "Current": 0.02}
            return {"StatusSNS": {"Time": "2026-11-28T04:00:00", "ENERGY": energy}}
        return None

    def _lets_in(self) -> bool:
        plug, said = self.server.plug, self.headers.get("Authorization", "")
        if not plug.password:
            return True
        if self.path.startswith("/rpc/"):
            return _proves(said, plug, self.path)
        if self.path.startswith("/cm"):
            query = parse_qs(urlsplit(self.path).query)
            return (query.get("user"), query.get("password")) == ([plug.user], [plug.password])
        return said == f"Basic {base64.b64encode(f'{plug.user}:{plug.password}'.encode()).decode()}"

    def _drip(self) -> None:
        """A byte now and then: no pause is long, and the answer has no end."""
        self.send_response(200)
        self.end_headers()
        while not self.server.plug.ending.wait(0.05):
            try:
                self.wfile.write(b" ")
            except OSError:
                return

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            return  # who asked has read enough

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


def _proves(said: str, plug: Plug, path: str) -> bool:
    """Whether a digest is that of the password, by the formula of RFC 7616."""
    parts = dict(re.findall(r'(\w+)="?([^",]*)"?', said))
    if not said.startswith("Digest ") or (parts.get("nonce"), parts.get("realm"), parts.get("uri")) != (
        NONCE,
        REALM,
        path,
    ):
        return False

    def hashed(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    who, what = hashed(f"{plug.user}:{REALM}:{plug.password}"), hashed(f"GET:{path}")
    wanted = hashed(f"{who}:{NONCE}:{parts.get('nc')}:{parts.get('cnonce')}:auth:{what}")
    return parts.get("response") == wanted
