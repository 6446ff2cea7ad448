"""The printed tunnel, as a person runs it: from outside a virtual cluster's network to a page on a node's loopback address."""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pytest
from playbooks import ProvisionedCluster

from harness.nodes.connection.tunnel import tunnel
from harness.nodes.read_inventory import load_cluster

pytestmark = [pytest.mark.virtual, pytest.mark.slow, pytest.mark.timeout(600)]
UNIT = "harness-test-page"


@pytest.fixture
def port(provisioned_cluster: ProvisionedCluster) -> Iterator[int]:
    """Where a page is served on the last node, at its loopback address alone."""
    node = provisioned_cluster.nodes[-1]
    serve = "python3 -m http.server --bind 127.0.0.1 --directory /usr/share/zoneinfo 8787"
    started = provisioned_cluster.on(node, f"systemd-run --unit {UNIT} {serve}")
    assert started.returncode == 0, started.stdout + started.stderr
    yield 8787
    provisioned_cluster.on(node, f"systemctl stop {UNIT}")


def test_the_printed_command_leads_to_the_nodes_page(provisioned_cluster: ProvisionedCluster, port: int) -> None:
    cluster = load_cluster(provisioned_cluster.inventory)
    (node,) = [each for each in cluster.nodes if each.name == provisioned_cluster.nodes[-1]]
    with socket.create_server(("127.0.0.1", 0)) as free:
        here = free.getsockname()[1]
    command = tunnel(node, port, here, namespace=cluster.network_namespace)
    assert command is not None
    with subprocess.Popen(shlex.split(command), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as opened:
        try:
            page = fetched(here, opened)
        finally:
            opened.terminate()
    assert "Directory listing" in page


def fetched(port: int, opened: subprocess.Popen[str]) -> str:
    """What is served at a port of this machine's loopback address, once it is."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and opened.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            text: str = answer.read().decode()
            return text
        time.sleep(0.2)
    opened.terminate()
    raise AssertionError(opened.communicate()[1])
