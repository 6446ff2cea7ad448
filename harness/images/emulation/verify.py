"""Boots a node's image in an emulated board and checks that it is the node it should be."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ImageError
from harness.images.emulation import guest, login
from harness.images.figures import record
from harness.images.nodes.card_node import CardNode
from harness.system.files import write_whole

BOOT_SECONDS = 900.0


@dataclass(frozen=True)
class Emulation:
    """What is booted where: `host_key` is the node's public one, `directory` takes all that the emulation leaves.

    `boot_seconds` limits the time to SSH, and again the time to the end of the first boot.
    """

    node: CardNode
    image: Path
    machine: str
    directory: Path
    private_key: Path
    host_key: str
    boot_seconds: float


@dataclass(frozen=True)
class Booted:
    """A node that came up: its SSH port on the loopback interface, who it says it is, and seconds since power on."""

    port: int
    identity: Mapping[str, str]
    ssh_seconds: float
    ready_seconds: float


def verify(emulation: Emulation, output: Path, *, keep: bool) -> Booted:
    """Boot to SSH and the end of the first boot and check who it is; the seconds are recorded in `output`.

    With `keep` the emulation is left running. Raises ImageError where the node does not come up, or is not who it should be;
    it is then stopped.
    """
    begin = time.monotonic()
    try:
        running, ssh = _boot(emulation)
        ssh_seconds = time.monotonic() - begin
        login.set_clock(ssh)
        found = login.identity(ssh, emulation.boot_seconds)
        _check_identity(emulation, found, running.console)
    except BaseException:
        guest.stop(emulation.directory)
        raise
    booted = Booted(running.port, found, round(ssh_seconds, 1), round(time.monotonic() - begin, 1))
    figures = {"ssh_seconds": booted.ssh_seconds, "ready_seconds": booted.ready_seconds}
    record(output, {f"{emulation.machine}_{name}": seconds for name, seconds in figures.items()})
    if not keep:
        guest.stop(emulation.directory)
    return booted


def _boot(emulation: Emulation) -> tuple[guest.Guest, list[str]]:
    """Start the emulation and wait for SSH; the SSH command to reach it with."""
    try:
        return _power_on(emulation)
    except login.NoCardError:  # now and then, on a machine that has other work
        return _power_on(emulation)


def _power_on(emulation: Emulation) -> tuple[guest.Guest, list[str]]:
    node, directory = emulation.node, emulation.directory
    running = guest.start(emulation.image, node, emulation.machine, directory)
    pins = directory / "known_hosts"
    write_whole(pins, f"{node.name} {emulation.host_key}\n".encode())
    ssh = login.ssh_command(node, running.port, emulation.private_key, pins)
    login.wait_for_ssh(running, ssh, emulation.boot_seconds)
    return running, ssh


def _check_identity(emulation: Emulation, found: Mapping[str, str], console: Path) -> None:
    node = emulation.node
    expected = {
        "hostname": node.name,
        "architecture": "aarch64",
        "address": f"{node.address}/{node.prefix_length}",
        "passwords": "passwordauthentication no",
    }
    if emulation.machine == "raspi3b":
        expected["model"] = "Raspberry Pi 3"
    wrong = [
        f"{name} is {found.get(name, '')!r}, expected {wanted!r}"
        for name, wanted in expected.items()
        if wanted not in found.get(name, "")
    ]
    if wrong:
        raise ImageError(f"{node.name} booted, but {'; '.join(wrong)}", f"read {console}")
