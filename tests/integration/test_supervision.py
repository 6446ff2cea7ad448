"""Supervision on real nodes: the short form of the fault matrix, and what must arrive on a node as it was typed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from training_job import runtime_python

from harness.errors import BadInputError
from harness.launch.code import packaged_code
from harness.launch.hold import Hold
from harness.nodes import namespace
from harness.nodes.inventory import Cluster
from harness.nodes.read_inventory import load_cluster
from harness.nodes.session import Session
from harness.paths import EXPERIMENTS, REPOSITORY
from harness.virtual.host.names import controller_namespace
from tests.conftest import ProvisionedCluster
from tests.faults.cases import CASES, Case
from tests.faults.rig import Rig

HOSTILE = [
    "a b",
    "$(touch /tmp/pwned)",
    "; touch /tmp/pwned;",
    "'",
    '"',
    "`id`",
    "*",
    "~",
    "-n",
    "",
    "new\nline",
    "\\",
    "é",
]
SHORT = [each for each in CASES if each.short]


@pytest.fixture(scope="module")
def rig(provisioned_cluster: ProvisionedCluster) -> Iterator[Rig]:
    made = Rig(provisioned_cluster.inventory)
    yield made
    made.close()


@pytest.fixture
def cluster(provisioned_cluster: ProvisionedCluster) -> Iterator[Cluster]:
    """The provisioned cluster, this thread inside its network for the length of a test."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    namespace.enter_network_namespace(controller_namespace(provisioned_cluster.name))
    yield load_cluster(provisioned_cluster.inventory)
    assert namespace._libc.setns(own, namespace._CLONE_NEWNET) == 0
    os.close(own)


@pytest.mark.virtual
@pytest.mark.mxnet
@pytest.mark.slow
@pytest.mark.parametrize("each", SHORT, ids=lambda each: each.name)
def test_fault(rig: Rig, each: Case) -> None:
    result = each.run(rig)
    assert result.held, result


@pytest.mark.virtual
def test_arguments_arrive_over_ssh_as_they_are(cluster: Cluster) -> None:
    with Session(cluster) as session:
        node = cluster.nodes[0]
        program = "import sys, json; print(json.dumps({'frame': sys.argv[1:]}))"
        answer = session.to(node).request([node.python, "-c", program, *HOSTILE], {})
        assert answer["frame"] == HOSTILE
        look = "import os, json; print(json.dumps({'frame': os.path.exists('/tmp/pwned')}))"
        assert session.to(node).request([node.python, "-c", look], {})["frame"] is False


@pytest.mark.virtual
def test_two_harnesses_do_not_share_a_node(cluster: Cluster, rig: Rig) -> None:
    # A launch puts the agent there, and frees the nodes at its end.
    assert rig.launch(program=("--seconds", "1")).end(120) == 0
    code = packaged_code().hash
    with Session(cluster) as session, Hold(session, cluster.nodes, code, "first"):
        running = rig.launch(program=("--seconds", "1"))
        assert running.end(120) == 2
        assert f"is held by run first (root@{os.uname().nodename}, process {os.getpid()})" in running.output
    assert rig.launch(program=("--seconds", "1")).end(120) == 0


@pytest.mark.virtual
def test_what_is_no_cluster_member_cannot_reach_the_store(cluster: Cluster, rig: Rig) -> None:
    """A machine on the same switch, with an address of no node: it reaches no port but SSH's while a job runs."""
    switch, outside = f"hv-{rig.name}-sw", f"outside-{os.getpid()}"
    address = cluster.nodes[0].address.rpartition(".")[0] + ".200"
    commands = [
        ["ip", "netns", "add", outside],
        ["ip", "-n", switch, "link", "add", "outside", "type", "veth", "peer", "name", "eth0", "netns", outside],
        ["ip", "-n", switch, "link", "set", "outside", "master", "switch", "up"],
        ["ip", "-n", outside, "address", "add", f"{address}/24", "dev", "eth0"],
        ["ip", "-n", outside, "link", "set", "eth0", "up"],
    ]
    scan = (
        "import socket, sys\n"
        "listening = {int(line) for line in sys.stdin}\n"
        "for host in sys.argv[1:]:\n"
        "    for port in sorted({*listening, *range(9091, 9191), *range(32768, 61000, 97)}):\n"
        "        s = socket.socket(); s.settimeout(1 if port in listening else 0.02)\n"
        "        if s.connect_ex((host, port)) == 0: print(host, port)\n"
        "        s.close()\n"
    )
    running = rig.train()
    try:
        for command in commands:
            subprocess.run(command, check=True, timeout=10)
        running.trained()
        ports = set()
        for node in rig.nodes:
            for line in rig.inside(node, "ss", "-tlnH").splitlines():
                ports.add(line.split()[3].rpartition(":")[2])
        assert len(ports) > 2  # the scheduler's and the servers', beside SSH
        found = subprocess.run(
            ["ip", "netns", "exec", outside, sys.executable, "-c", scan, *(node.address for node in cluster.nodes)],
            input="\n".join(sorted(ports)), capture_output=True, text=True, timeout=300, check=True,
        ).stdout.splitlines()  # fmt: skip
        assert found == [f"{node.address} 22" for node in cluster.nodes]
    finally:
        running.signal(signal.SIGINT)
        running.end(30)
        subprocess.run(["ip", "-n", switch, "link", "delete", "outside"], check=False, timeout=10)
        subprocess.run(["ip", "netns", "delete", outside], check=False, timeout=10)


# --- on this machine alone ---


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """An inventory of two local nodes that have the runtime."""
    python = Path(runtime_python())
    assert (python.parents[1] / "runtime.json").is_file(), (
        "HARNESS_RUNTIME_PYTHON names no runtime that the playbook made"
    )
    inventory = tmp_path / "hosts.yml"
    hosts = {f"kept-{os.getpid()}-{number}": {"ansible_host": f"127.0.9.{number}"} for number in (1, 2)}
    variables = {
        "ansible_connection": "local",
        "cluster_kind": "local",
        "cluster_port": 19091,
        "node_supervisor": "process",
        "node_shared_machine": True,
        "node_root": str(python.parents[2]),
    }
    inventory.write_text(json.dumps({"nodes": {"hosts": hosts, "vars": variables}}), encoding="utf-8")
    return inventory


def sweep(local: Path, results: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "sweep", str(EXPERIMENTS / "quickstart.yaml"), "-i", str(local),
         "-o", str(results), "-n", "1-2", "--repeats", "2", "--set", "epochs=2", "--set", "dataset=digits", "-q", *arguments],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def facts(directory: Path) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The CSVs apart from times."""

    def columns(name: str, *keys: str) -> list[tuple[str, ...]]:
        rows = csv.DictReader((directory / name).read_text(encoding="utf-8").splitlines())
        return sorted(tuple(row[key] for key in keys) for row in rows)

    return (
        columns(
            "trials.csv",
            "trial",
            "status",
            "nodes",
            "repeat",
            "seed",
            "images",
            "train_accuracy",
            "validation_accuracy",
        ),
        columns("epochs.csv", "trial", "rank", "node", "epoch", "steps", "images", "train_loss", "validation_accuracy"),
    )


@pytest.mark.mxnet
@pytest.mark.slow
def test_a_killed_sweep_resumed_gives_the_same_csvs(local: Path, tmp_path: Path) -> None:
    whole = sweep(local, tmp_path / "whole")
    output, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0, output
    killed = sweep(local, tmp_path / "killed")
    directory = tmp_path / "killed" / "quickstart" / "latest"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        # In the middle of the second trial: it has rows already.
        events = directory / "trials" / "n02-r1" / "events.jsonl"
        if events.is_file() and '"epoch"' in events.read_text():
            break
        time.sleep(0.05)
    killed.kill()
    killed.communicate(timeout=10)
    assert (directory / "trials" / "n01-r1" / "trial.json").is_file()
    assert not (directory / "trials" / "n02-r1" / "trial.json").is_file()
    deadline = time.monotonic() + 70
    while True:  # ranks may be left for as long as their lease
        resumed = sweep(local, tmp_path / "killed", "--resume", str(directory))
        output, _ = resumed.communicate(timeout=300)
        if resumed.returncode == 0 or time.monotonic() > deadline:
            break
    assert resumed.returncode == 0, output
    assert "(1 done before)" in output
    assert facts(directory) == facts(tmp_path / "whole" / "quickstart" / "latest")
    changed = sweep(local, tmp_path / "killed", "--resume", str(directory), "--set", "batch_size=8")
    output, _ = changed.communicate(timeout=60)
    assert changed.returncode == 2
    assert "changed: parameters:" in output


def test_holding_names_the_holder(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    variables = {"ansible_connection": "local", "node_supervisor": "process", "node_root": str(tmp_path / "root")}
    hosts = {"one": {"ansible_host": "127.0.9.9"}}
    inventory.write_text(json.dumps({"nodes": {"hosts": hosts, "vars": variables}}), encoding="utf-8")
    cluster, code = load_cluster(inventory), packaged_code()
    with Session(cluster) as session:
        code.send(session.to(cluster.nodes[0]))
        with Hold(session, cluster.nodes, code.hash, "first"), pytest.MonkeyPatch.context() as patch:
            patch.setattr("harness.launch.hold.this_harness", lambda: "another")
            with (
                pytest.raises(BadInputError, match="one: is held by run first"),
                Hold(session, cluster.nodes, code.hash, "x"),
            ):
                pass
        with Hold(session, cluster.nodes, code.hash, "x"):
            pass
