"""The live page's server over real sockets: what it answers, what it refuses, and that nothing of it is left."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from live_runs import run_being_written
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import BadInputError
from harness.live.reader import RunReader
from harness.live.server import MOST_CONNECTIONS, LiveServer
from harness.live.state import not_begun


@pytest.fixture(scope="module")
def one_server() -> Iterator[LiveServer]:
    with LiveServer() as made:
        yield made


@pytest.fixture
def server(one_server: LiveServer) -> LiveServer:
    """One that shows no run yet."""
    one_server.show(not_begun)
    return one_server


def asked(
    server: LiveServer, name: str = "", method: str = "GET", host: str | None = None, path: str | None = None
) -> tuple[int, dict[str, str], str]:
    """Status, headers and content of what is at a name below the page, or at a path."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port or 0, timeout=10)
    try:
        connection.request(method, path or address.path + name, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def test_the_page_and_its_parts_are_served_with_a_strict_policy(server: LiveServer) -> None:
    kinds = {"": "text/html", "live.css": "text/css", "live.js": "text/javascript", "state.json": "application/json"}
    for name, kind in kinds.items():
        status, headers, content = asked(server, name)
        assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")
        assert len(content.encode()) == int(headers["Content-Length"])
    assert json.loads(asked(server, "state.json?x=1")[2])["phase"] == "waiting"
    assert "--c-0072b2: #56a9e0" in asked(server, "live.css")[2]  # the report's colours, in the dark


def test_the_page_refers_to_nothing_outside_and_sets_no_markup(server: LiveServer) -> None:
    page, script = asked(server)[2], asked(server, "live.js")[2]
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["live.css", "live.js"]
    assert re.findall(r"https?://[^\"]*", page + script + asked(server, "live.css")[2]) == [
        "http://www.w3.org/2000/svg"
    ]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\bon\w+=|style=", page + script
    )
    ids = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'\bat\("([^"]+)"\)', script)) <= ids


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "[::1]", "localhost@evil"])
def test_another_host_is_refused(server: LiveServer, host: str) -> None:
    status, _, content = asked(server, "state.json", host=host)
    assert (status, "phase" in content) == (403, False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:9", "127.0.0.1:12345"])
def test_a_forwarded_port_is_no_other_host(server: LiveServer, host: str) -> None:
    assert asked(server, host=host)[0] == 200


@pytest.mark.parametrize("name", ["x", "../state.json", "%2e%2e/", "page.html", "live.css/", "/etc/passwd"])
def test_what_it_does_not_make_is_not_found(server: LiveServer, name: str) -> None:
    assert asked(server, name)[0] == 404


@pytest.mark.parametrize("path", ["/", "/state.json", "/etc/passwd", "/%ff/state.json", "http://127.0.0.1/"])
def test_who_does_not_know_the_address_gets_nothing(server: LiveServer, path: str) -> None:
    assert asked(server, path=path)[0] == 404


def test_no_two_pages_have_one_address(server: LiveServer) -> None:
    with LiveServer() as other:
        assert urlsplit(other.url).path != urlsplit(server.url).path
        assert asked(other, path=urlsplit(server.url).path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_nothing_but_get_is_answered(server: LiveServer, method: str) -> None:
    status, headers, _ = asked(server, method=method)
    assert (status, headers["Allow"]) == (405, "GET")


def connected(server: LiveServer) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((str(address.hostname), address.port or 0), timeout=10)


def sent(server: LiveServer, request: str) -> bytes:
    """What comes back for these lines; nothing where the connection is not taken."""
    with connected(server) as connection, suppress(ConnectionError):
        connection.sendall(request.encode())
        return connection.makefile("rb").read()
    return b""


@pytest.mark.parametrize("hosts", ["", "Host: 127.0.0.1\r\nHost: evil.example\r\n"])
def test_no_host_and_two_hosts_are_refused(server: LiveServer, hosts: str) -> None:
    answer = sent(server, f"GET {urlsplit(server.url).path}state.json HTTP/1.1\r\n{hosts}\r\n")
    assert answer.startswith(b"HTTP/1.0 403 ")


def test_what_is_no_request_is_refused_with_the_same_policy(server: LiveServer) -> None:
    answer = sent(server, "NONSENSE / HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 501 ")
    assert b"default-src 'none'" in answer


def test_foreign_text_stays_text(server: LiveServer, tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script>"
    with run_being_written(tmp_path, experiment={"name": hostile}) as run:
        run.directory.begin("n01-r1")
        run.directory.log("n01-r1", "worker0", f"{hostile}\n".encode())
        run.event("n01-r1", -1, "error", message=hostile)
        server.show(RunReader(run.paths).document)
        _, headers, content = asked(server, "state.json")
    assert headers["Content-Type"].startswith("application/json")
    state = json.loads(content)
    assert (state["experiment"], state["logs"][0]["lines"]) == (hostile, [hostile])
    assert state["current"]["errors"] == [f"worker0: {hostile}"]
    assert hostile not in asked(server)[2]  # the page itself has nothing of a run in it


def test_several_pages_share_one_state_that_is_fresh(server: LiveServer) -> None:
    made: list[float] = []

    def document() -> dict[str, object]:
        made.append(time.monotonic())
        return {"phase": "running", "count": len(made)}

    server.show(document)
    counts = [json.loads(asked(server, "state.json")[2])["count"] for _ in range(5)]
    assert counts == [1] * 5
    time.sleep(0.35)
    assert json.loads(asked(server, "state.json")[2])["count"] == 2


def test_a_state_that_cannot_be_told_is_said_and_the_server_goes_on(server: LiveServer) -> None:
    def broken() -> dict[str, object]:
        raise RuntimeError("odd")

    server.show(broken)
    status, _, content = asked(server, "state.json")
    assert (status, content) == (500, "The state cannot be told: RuntimeError: odd\n")
    assert asked(server)[0] == 200


def test_connections_have_a_limit_and_are_given_back() -> None:
    with LiveServer() as server:
        silent = [connected(server) for _ in range(MOST_CONNECTIONS)]
        with connected(server) as one_more:
            assert one_more.recv(1) == b""
        for one in silent:
            one.close()
        end = time.monotonic() + 5
        while not sent(server, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.0 404 "):
            assert time.monotonic() < end


def test_its_end_leaves_no_thread_and_waits_for_no_silent_client() -> None:
    before = set(threading.enumerate())
    with LiveServer() as server:
        silent = [connected(server) for _ in range(40)]
        time.sleep(0.1)
        for one in silent[:20]:
            one.close()
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert set(threading.enumerate()) <= before
    for one in silent:
        one.close()
    with pytest.raises(ConnectionRefusedError):
        asked(server)


def test_a_port_that_is_taken_is_refused_with_a_remedy(server: LiveServer, tmp_path: Path) -> None:
    port = urlsplit(server.url).port or 0
    with pytest.raises(BadInputError, match=f"port {port} of 127.0.0.1 is taken") as refused:
        LiveServer(port)
    assert "--port" in refused.value.remedy
    with run_being_written(tmp_path) as run:
        done = CliRunner().invoke(app, ["watch", str(run.paths.root), "--port", str(port)])
    assert isinstance(done.exception, BadInputError)
    assert done.exception.exit_code == 2
