"""Nodes with a 64-bit ARM root file system whose programs run under user-mode emulation, on a network of their own.

Each is a container with an SSH server, an address and a machine-id; they share one root file system and one `/opt`, as nodes
of one machine do. No kernel boots and no systemd runs in them: what concerns these, the emulated board proves.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.images.base import binfmt, debian
from harness.images.host import run
from harness.paths import REPOSITORY, cache_directory
from harness.system.commands import find

TOOLS = ("mmdebstrap", "arch-test", "qemu-aarch64-static", "systemd-nspawn", "ssh-keygen", "ip", "nsenter")
START_SECONDS = 120
SERVER = (
    "mkdir -p /run/sshd; exec /usr/sbin/sshd -D -e -f /dev/null -h {key} -o AuthorizedKeysFile={authorized} "
    "-o StrictModes=no -o UsePAM=no -o UseDNS=no -o MaxStartups=100:30:200 -o Subsystem='sftp internal-sftp' "
    "-o 'SetEnv={processor}'"
)
PROCESSOR = "QEMU_CPU={QEMU_CPU}".format(**binfmt.EMULATED_PROCESSOR)


def obstacle() -> str:
    """Why this machine cannot have such nodes; empty where it can."""
    if os.geteuid() != 0:
        return "containers need root"
    if missing := [tool for tool in TOOLS if find(tool) is None]:
        return f"not installed: {', '.join(missing)}"
    return "" if binfmt.runs_foreign_binaries() else "binfmt_misc does not run arm64 programs here"


@dataclass(frozen=True)
class Emulated:
    """Running nodes: their inventory, and the network namespace that reaches them."""

    inventory: Path
    network: str

    def harness(self, verb: str, *arguments: str | Path, limit_seconds: float) -> subprocess.CompletedProcess[str]:
        """Run a command of the harness there; downloads go by this machine's own network."""
        command = ["nsenter", f"--net=/run/netns/{self.network}", sys.executable, "-m", "harness", verb]
        return subprocess.run(
            [*command, *map(str, arguments), "-i", str(self.inventory)],
            cwd=REPOSITORY,
            env=os.environ | {"HARNESS_MACHINE_NETWORK": f"/proc/{os.getpid()}/ns/net"},
            capture_output=True, text=True, timeout=limit_seconds, check=False,
        )  # fmt: skip


@contextlib.contextmanager
def emulated_nodes(directory: Path, suite: str, addresses: Sequence[str], gateway: str) -> Iterator[Emulated]:
    """So many nodes of a Debian release, stopped and removed at the end; skips the test where this machine cannot have them."""
    if why := obstacle():
        pytest.skip(why)
    base = debian.DebianBase.of(suite, debian.COMPONENTS, [])
    archive, _, _ = debian.build_root(base, cache_directory() / "images")
    root, shared = directory / "root", directory / "opt"
    for made in (root, shared):
        made.mkdir()
    run(["tar", "-xf", archive, "-C", root], limit_seconds=300)
    run(["chroot", root, "useradd", "--create-home", "--shell=/bin/bash", "--password=*", "pi"], limit_seconds=120)
    run(["chroot", root, "install", "-d", "-o", "pi", "/home/pi/.ansible"], limit_seconds=120)
    shared.chmod(0o777)  # /opt of the nodes, in this test's own directory
    for key in ("login", "host"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", directory / key], limit_seconds=60)
    names = [f"emulated{os.getpid()}-{number}" for number in range(len(addresses))]
    network = f"emulated{os.getpid()}"
    with contextlib.ExitStack() as undo:
        _network(undo, network, names, addresses, gateway)
        for name, address in zip(names, addresses, strict=True):
            undo.enter_context(_container(directory, name, address))
        inventory = _inventory(directory, names, addresses)
        _wait(directory, names, network, addresses)
        yield Emulated(inventory, network)


def _network(
    undo: contextlib.ExitStack, network: str, names: Sequence[str], addresses: Sequence[str], gateway: str
) -> None:
    """A bridge with the controller's address, and a cable to each node."""

    def ip(*arguments: str) -> None:
        run(["ip", *arguments], limit_seconds=60)

    for name in (network, *names):
        ip("netns", "add", name)
        undo.callback(ip, "netns", "delete", name)
        ip("-n", name, "link", "set", "lo", "up")
    ip("-n", network, "link", "add", "bridge", "type", "bridge")
    ip("-n", network, "address", "add", f"{gateway}/24", "dev", "bridge")
    ip("-n", network, "link", "set", "bridge", "up")
    for number, (name, address) in enumerate(zip(names, addresses, strict=True)):
        port = f"port{number}"
        ip("-n", network, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("-n", network, "link", "set", port, "master", "bridge", "up")
        ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")


@contextlib.contextmanager
def _container(directory: Path, name: str, address: str) -> Iterator[None]:
    """One node's SSH server in its container."""
    identity = directory / f"{name}.machine-id"
    identity.write_text(f"{uuid.uuid5(uuid.NAMESPACE_DNS, address).hex}\n", encoding="ascii")
    bound = {directory / "opt": "/opt", directory / "host": "/mnt/host", directory / "login.pub": "/mnt/login.pub"}
    command = [
        "systemd-nspawn", "--quiet", "--settings=no", "--register=no", "--keep-unit", "--as-pid2", "--volatile=overlay",
        f"--directory={directory / 'root'}", f"--machine={name}", f"--network-namespace-path=/run/netns/{name}",
        "--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=pipe", "--suppress-sync=yes",
        f"--bind-ro={identity}:/etc/machine-id", *(f"--bind={source}:{target}" for source, target in bound.items()),
        f"--setenv={PROCESSOR}", "/bin/sh", "-c",
        SERVER.format(key="/mnt/host", authorized="/mnt/login.pub", processor=PROCESSOR),
    ]  # fmt: skip
    with (directory / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _inventory(directory: Path, names: Sequence[str], addresses: Sequence[str]) -> Path:
    key = " ".join((directory / "host.pub").read_text(encoding="ascii").split()[:2])
    pins = directory / "known_hosts"
    pins.write_text("".join(f"{address} {key}\n" for address in addresses), encoding="ascii")
    hosts = {f"pi{number:02d}": {"ansible_host": address} for number, address in enumerate(addresses, 1)}
    variables = {
        "cluster_kind": "emulated", "ansible_user": "pi", "ansible_ssh_private_key_file": str(directory / "login"),
        "ansible_python_interpreter": "/usr/bin/python3", "ansible_timeout": 120, "node_root": "/opt/harness",
        "node_shared_machine": True, "node_supervisor": "process", "node_threads": 1, "dataset_names": [],
        "cluster_known_hosts": str(pins), "ansible_control_path_dir": str(directory / "ssh"),
        "ansible_ssh_common_args":
            f"-o UserKnownHostsFile={pins} -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes",
    }  # fmt: skip
    inventory = directory / "hosts.yml"
    inventory.write_text(json.dumps({"nodes": {"hosts": hosts, "vars": variables}}), encoding="utf-8")
    return inventory


def _wait(directory: Path, names: Sequence[str], network: str, addresses: Sequence[str]) -> None:
    """Until each node lets us in."""
    limit = time.monotonic() + START_SECONDS
    for name, address in zip(names, addresses, strict=True):
        ssh = [
            "nsenter", f"--net=/run/netns/{network}", "ssh", "-F", "/dev/null", "-i", str(directory / "login"),
            "-o", f"UserKnownHostsFile={directory / 'known_hosts'}", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5",
            f"pi@{address}", "uname", "-m",
        ]  # fmt: skip
        while (done := subprocess.run(ssh, capture_output=True, text=True, timeout=60, check=False)).returncode != 0:
            if time.monotonic() > limit:
                said = (directory / f"{name}.log").read_text(errors="replace")[-2000:]
                pytest.fail(f"{name} does not let us in: {done.stderr}\n{said}")
            time.sleep(1)
        assert done.stdout.strip() == "aarch64"
