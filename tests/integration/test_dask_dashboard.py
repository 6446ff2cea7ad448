"""Dask's dashboard and its report of all tasks: off unless asked for, on the loopback address alone, refused without bokeh."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

import pytest
from dask_nodes import Nodes, listening, nothing_is_left, ranks, running, without

from harness.contract import wire


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, dask_root: Path) -> Nodes:
    return Nodes(tmp_path_factory.mktemp("pages"), dask_root)


def test_the_dashboard_is_on_the_loopback_address_alone_and_the_report_is_kept(nodes: Nodes) -> None:
    options = "--dashboard -q --set performance_report=true"
    with running(nodes, "pages", "forest.py", 1, options, trees=2500, via="batches") as wait:
        (record,) = [
            json.loads(line)
            for path in nodes.directory.glob("results/pages/latest/trials/*/events.jsonl")
            for line in path.read_text(encoding="utf-8").split("\n")[:-1]  # whole lines
            if json.loads(line)["event"] == wire.DASHBOARD
        ]
        port = record["port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{record['path']}", timeout=20) as answer:
            assert "Dask" in answer.read().decode()
        found = listening(ranks(nodes, "scheduler")[0])
        assert {host for host, at in found if at == port} == {"127.0.0.1"}
        assert {host for host, _ in found} <= {"127.0.0.1", "127.0.37.1"}
        assert not any(host == "127.0.0.1" for host, _ in listening(ranks(nodes, "worker")[0]))
        assert b" 101 " in upgraded(port, f"http://localhost:{port}")
        assert b" 403 " in upgraded(port, "http://another.example")
        code, said = wait()
    assert code == 0, said
    assert f"n01-r1: dashboard: http://127.0.0.1:{port}/status\n" in said
    (report,) = nodes.directory.glob("results/pages/latest/trials/*/performance_report.html")
    assert report.stat().st_size <= wire.FILE_LIMIT_BYTES
    text = report.read_text(encoding="utf-8")
    assert "Dask Performance Report" in text
    assert "batch" in text  # the tasks' own name
    assert '<script type="text/javascript" src="http' not in text  # it opens without a network
    assert nothing_is_left(nodes)


def upgraded(port: int, origin: str) -> bytes:
    """The first line of the answer to a page of this origin that asks for the dashboard's data."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=20) as page:
        token = page.read().decode().partition('"token":"')[2].partition('"')[0]
    request = (
        f"GET /status/ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nOrigin: {origin}\r\n"
        f"Sec-WebSocket-Protocol: bokeh, {token}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(request.encode("ascii"))
        return connection.recv(4096).partition(b"\r\n")[0]


@pytest.mark.parametrize("asked", ["--dashboard", "--set performance_report=true"])
def test_without_bokeh_on_the_nodes_both_are_refused_with_the_remedy(nodes: Nodes, tmp_path: Path, asked: str) -> None:
    code, said = without(nodes, "bokeh", tmp_path).sweep("bare", "forest.py", 1, asked, trees=10, via="batches")
    assert code == 2
    assert "d-1: its runtime has no bokeh" in said
    assert "dask_dashboard: true" in said
