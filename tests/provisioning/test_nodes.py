"""What a provisioned node is, asked of the nodes of an inventory themselves.

    HARNESS_NODES=<inventory> pytest tests/provisioning/test_nodes.py

The test of the virtual cluster runs this file inside the cluster's network; on boards it is run like that, by hand.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import testinfra

INVENTORY = os.environ.get("HARNESS_NODES", "")
DATASETS = os.environ.get("HARNESS_NODES_DATASETS", "").split()
CONNECT_SECONDS = 3
MNIST = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

BINARIES = Path(sys.executable).parent
# testinfra calls Ansible's commands by name; they are where this Python is.
os.environ["PATH"] = os.pathsep.join([str(BINARIES), os.environ.get("PATH", "")])

pytestmark = pytest.mark.skipif(not INVENTORY, reason="HARNESS_NODES names no inventory of provisioned nodes")


def variables() -> dict[str, dict[str, Any]]:
    command = [str(BINARIES / "ansible-inventory"), "-i", INVENTORY, "--list"]
    listing = json.loads(subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout)
    return {name: listing["_meta"]["hostvars"][name] for name in listing["nodes"]["hosts"]}


NODES = variables() if INVENTORY else {}


@pytest.fixture(params=sorted(NODES), scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def node(name: str) -> Any:
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=INVENTORY, sudo=True)


@pytest.fixture(scope="module")
def root(name: str) -> str:
    return str(NODES[name].get("node_root", "/opt/harness"))


def answers(address: str, port: int) -> bool:
    """Whether a packet to the port comes back: open or refused, but not dropped."""
    try:
        socket.create_connection((address, port), timeout=CONNECT_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def test_name(node: Any, name: str) -> None:
    assert node.check_output("hostname") == name
    assert node.file("/etc/hostname").content_string.strip() == name


def test_hosts_file_names_every_node(node: Any) -> None:
    for other, values in NODES.items():
        assert node.check_output("getent ahostsv4 %s", other).split()[0] == values["ansible_host"]


@pytest.mark.parametrize("unit", ["apt-daily.timer", "apt-daily-upgrade.timer"])
def test_timers_are_off(node: Any, unit: str) -> None:
    assert node.check_output("systemctl show --property=LoadState --value %s", unit) in ("masked", "not-found")
    assert not node.service(unit).is_running


def test_firewall_is_loaded_now_and_at_boot(node: Any) -> None:
    assert node.service("cluster-firewall.service").is_running
    assert node.service("cluster-firewall.service").is_enabled
    assert "policy drop" in node.check_output("nft list chain inet cluster input")


def test_firewall_drops_what_is_not_of_the_cluster(node: Any, name: str) -> None:
    # The controller is no node: it may log in, and nothing else.
    address = NODES[name]["ansible_host"]
    assert answers(address, int(NODES[name].get("ansible_port", 22)))
    server = "import socket; s = socket.create_server(('0.0.0.0', 9191)); s.settimeout(20); s.accept()"
    node.check_output('systemd-run --unit=listen-for-test --collect /usr/bin/python3 -c "%s"' % server)  # noqa: UP031
    try:
        assert not answers(address, 9191)
        assert not answers(address, 9091)
    finally:
        node.run("systemctl stop listen-for-test")


def test_firewall_lets_the_nodes_reach_each_other(node: Any, name: str) -> None:
    probe = (
        "import socket, sys\n"
        "try:\n    socket.create_connection((sys.argv[1], 9091), timeout=3)\n"
        "except ConnectionRefusedError:\n    pass\n"
    )
    for other, values in NODES.items():
        if other != name:
            assert node.run("/usr/bin/python3 -c %s %s", probe, values["ansible_host"]).rc == 0


def test_ports_of_the_store_are_reserved(node: Any) -> None:
    assert node.check_output("cat /proc/sys/net/ipv4/ip_local_reserved_ports") == "9091-9190"
    assert node.check_output("cat /proc/sys/net/ipv4/tcp_slow_start_after_idle") == "0"


def test_runtime_imports_and_has_its_stores(node: Any, root: str) -> None:
    state = json.loads(node.file(f"{root}/runtime/runtime.json").content_string)
    program = "import mxnet; print(mxnet.__version__, mxnet.runtime.Features().is_enabled('DIST_KVSTORE'))"
    version, distributed = node.check_output("cd / && %s -c %s", f"{root}/runtime/bin/python", program).split()
    assert version == state["mxnet"]
    assert ("dist_sync" in state["stores"]) == (distributed == "True")
    assert all(len(digest) == 64 for digest in state["wheels"].values())
    assert state["architecture"] == node.check_output("uname -m")


def test_what_is_ours_belongs_to_the_user(node: Any, name: str, root: str) -> None:
    user = NODES[name].get("ansible_user")
    if user:
        assert node.check_output("stat -c %%U %s %s/runtime", root, root).split() == [user, user]


@pytest.mark.skipif("mnist" not in DATASETS, reason="HARNESS_NODES_DATASETS does not name mnist")
def test_mnist_is_the_original(node: Any, root: str) -> None:
    written = json.loads(node.file(f"{root}/data/mnist/dataset.json").content_string)["files"]
    for file, digest in MNIST.items():
        on_disk = node.file(f"{root}/data/mnist/{file}")
        assert on_disk.sha256sum == digest == written[file]["sha256"]
        assert on_disk.size == written[file]["bytes"]
