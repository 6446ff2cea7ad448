"""Boots a node's image in an emulated Raspberry Pi 3, on a copy, reachable over SSH on the loopback interface."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInputError

from . import seed
from .card import Card, fat_list, fat_read, open_card
from .host import StepError, clone, find, require, require_space, run, whole

MACHINES = ("raspi3b", "virt")
MIN_CARD_BYTES = 2 << 30
POLL_SECONDS = 1.0
# An address of the Raspberry Pi foundation's: with a locally administered one the kernel would name the interface usb0.
MAC = "b8:27:eb:00:00:01"
# Of QEMU's USB network card.
CARD_VENDOR = "0525"


class NoCardError(StepError):
    """QEMU's USB failed: the emulated board has no network card, and would be waited for in vain."""


@dataclass(frozen=True)
class Boot:
    """What the firmware would load from the boot partition."""

    kernel: Path
    initrd: Path | None
    dtb: Path
    cmdline: str


def card_bytes(size: int) -> int:
    """The next power of two that an emulated card of `size` bytes may have, at least 2 GiB."""
    return max(MIN_CARD_BYTES, 1 << (size - 1).bit_length())


def kernel_parameters(cmdline: str) -> str:
    """The card's own kernel parameters with what only the emulated board needs.

    Its serial console, and no cdc_subset, which can take the emulated USB network card before the right driver.
    """
    words = [word for word in cmdline.split() if not word.startswith(("console=", "init=", "quiet", "splash"))]
    return " ".join([*words, "console=ttyAMA0,115200", "modprobe.blacklist=cdc_subset"])


def extract_boot(card: Card, directory: Path) -> Boot:
    """Copy kernel, initrd and device tree out of the boot partition, as config.txt names them."""
    config = (fat_read(card, "config.txt") or b"").decode(errors="replace")
    names = fat_list(card)
    kernel = _named(config, r"^kernel=(\S+)", names, "kernel8.img")
    initrd = _named(config, r"^initramfs (\S+)", names, "initramfs8", required=False)
    dtb = _named(config, r"^device_tree=(\S+)", names, "bcm2837-rpi-3-b.dtb", "bcm2710-rpi-3-b.dtb")
    cmdline = fat_read(card, "cmdline.txt")
    if not cmdline:
        raise BadInputError(f"{card.path.name}: no cmdline.txt on its boot partition", "make the image again")
    paths = {name: directory / name for name in (kernel, initrd, dtb) if name}
    for name, path in paths.items():
        path.write_bytes(fat_read(card, name) or b"")
    return Boot(paths[kernel], paths[initrd] if initrd else None, paths[dtb], cmdline.decode().strip())


def _named(config: str, pattern: str, names: Sequence[str], *defaults: str, required: bool = True) -> str:
    found = re.search(pattern, config, re.MULTILINE)
    for name in ([found.group(1)] if found else []) + list(defaults):
        if name in names:
            return name
    if required:
        raise BadInputError(f"the boot partition has none of {', '.join(defaults)}", "use a 64-bit image of a Pi 3")
    return ""


def command(machine: str, boot: Boot, card: Path, node: seed.Node, port: int, console: Path) -> list[str]:
    """QEMU's arguments: the node has its own address, on a network that reaches nothing but this machine's SSH client."""
    network = f"{node.address}/{node.prefix_length}"
    net = seed.network_of(node)
    gateway = node.gateway or str(next(host for host in net.hosts() if str(host) != node.address))
    forward = f"hostfwd=tcp:127.0.0.1:{port}-{node.address}:22"
    if net.num_addresses < 8:
        raise BadInputError(f"{network} is too small a network to emulate", "emulate a node of a /29 or larger")
    user = f"user,id=n0,net={net},host={gateway},dhcpstart={_dhcp_start(net, node, gateway)},restrict=on,ipv6=off,{forward}"
    devices = {
        "raspi3b": [
            *("-M", "raspi3b", "-dtb", str(boot.dtb), "-drive", f"file={card},if=sd,format=raw"),
            *("-usb", "-device", "usb-hub,bus=usb-bus.0,port=1"),  # without the hub the network card does not come up
            *("-device", f"usb-net,bus=usb-bus.0,port=1.1,netdev=n0,mac={MAC}"),
        ],
        "virt": [
            *("-M", "virt", "-cpu", "cortex-a53", "-smp", "4", "-m", "1024"),
            *("-drive", f"file={card},if=none,id=d0,format=raw", "-device", "virtio-blk-pci,drive=d0"),
            *("-device", f"virtio-net-pci,netdev=n0,mac={MAC},romfile="),
        ],
    }[machine]
    return [
        find("qemu-system-aarch64") or "qemu-system-aarch64",
        *devices,
        *("-netdev", user, "-kernel", str(boot.kernel)),
        *(("-initrd", str(boot.initrd)) if boot.initrd else ()),
        *("-append", kernel_parameters(boot.cmdline)),
        *("-display", "none", "-monitor", "none", "-no-reboot"),
        # raspi3b's first serial port is the PL011 (ttyAMA0), its second the mini UART (ttyS1)
        *("-chardev", f"file,id=console,path={console}", "-serial", "chardev:console"),
    ]


def _dhcp_start(net: Any, node: seed.Node, gateway: str) -> str:
    """QEMU gives the first client this address: with DHCP the node gets the one reserved for it."""
    if node.dhcp:
        return node.address
    return next(str(host) for host in net.hosts() if str(host) not in (node.address, gateway))


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Guest:
    """A running emulation: its process, SSH port and files."""

    pid: int
    port: int
    directory: Path
    console: Path


def start(image: Path, node: seed.Node, machine: str, directory: Path) -> Guest:
    """Start QEMU on a grown copy of the image; everything it leaves is in `directory`."""
    if machine not in MACHINES:
        raise BadInputError(f"{machine!r} is no machine to emulate", f"one of {', '.join(MACHINES)}")
    require("qemu-system-aarch64", "mcopy", "sfdisk")
    if not image.is_file():
        raise BadInputError(f"{image}: no such image", "make it with ansible/playbooks/image.yml")
    stop(directory)
    directory.mkdir(parents=True, exist_ok=True)
    require_space(directory, image.stat().st_blocks * 512 * 2, f"a copy of {image.name}")
    boot = extract_boot(open_card(image), directory)
    copy = directory / "card.img"
    with whole(copy) as temporary:
        clone(image, temporary)
        os.truncate(temporary, card_bytes(image.stat().st_size))
    port, console = free_port(), directory / "console.log"
    console.unlink(missing_ok=True)
    with (directory / "qemu.log").open("wb") as log:
        process = subprocess.Popen(
            command(machine, boot, copy, node, port, console),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    guest = Guest(process.pid, port, directory, console)
    state = {"pid": process.pid, "started": _started(process.pid), "port": port}
    (directory / "qemu.json").write_text(json.dumps(state), encoding="utf-8")
    time.sleep(1)
    if process.poll() is not None:
        said = (directory / "qemu.log").read_text(errors="replace").strip()
        stop(directory)
        raise StepError(f"QEMU ended at once: {said}", f"read {directory / 'qemu.log'}")
    return guest


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks: with the number it names one process for ever. Empty: there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _reap(pid: int) -> None:
    """Collect our own child, so that an ended one does not look alive."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def alive(directory: Path) -> bool:
    """Whether the QEMU that was started for `directory` still runs."""
    path = directory / "qemu.json"
    if not path.is_file():
        return False
    state = json.loads(path.read_text(encoding="utf-8"))
    _reap(int(state["pid"]))
    return bool(state["started"]) and _started(int(state["pid"])) == state["started"]


def stop(directory: Path, limit_seconds: float = 10) -> bool:
    """Stop the QEMU of `directory` and remove its card; True where it ran. Its logs stay."""
    running = alive(directory)
    if running:
        pid = int(json.loads((directory / "qemu.json").read_text(encoding="utf-8"))["pid"])
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + limit_seconds
        while alive(directory) and time.monotonic() < deadline:
            time.sleep(0.1)
        if alive(directory):
            os.kill(pid, signal.SIGKILL)
    for name in ("qemu.json", "card.img"):
        (directory / name).unlink(missing_ok=True)
    return running


def wait_for_ssh(guest: Guest, ssh: Sequence[str], limit_seconds: float) -> float:
    """Wait until the node answers with its pinned key; the seconds it took.

    Raises NoCardError where it never will, for want of a network card, and StepError, which names how far the boot came.
    """
    begin = time.monotonic()
    while time.monotonic() - begin < limit_seconds:
        if not alive(guest.directory):
            raise StepError(f"QEMU ended before SSH was up: {reached(guest.console)}", f"read {guest.console}")
        if _answers(guest.port):
            done = subprocess.run([*ssh, "true"], capture_output=True, text=True, timeout=60, check=False)
            if done.returncode == 0:
                return time.monotonic() - begin
            if "host key" in done.stderr.lower() and "verification failed" in done.stderr.lower():
                raise StepError(
                    f"the node's host key is not the pinned one: {done.stderr.strip()}", "make the image again"
                )
        if without_card(guest.console):
            raise NoCardError("the emulated board came up without its USB network card", "QEMU's USB failed: once more")
        time.sleep(POLL_SECONDS)
    raise StepError(
        f"no SSH within {limit_seconds:.0f} s: {reached(guest.console)}", f"read {guest.console}, or allow more time"
    )


def _answers(port: int) -> bool:
    """Whether an SSH server greets: QEMU itself accepts connections for a guest that is not up yet."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.settimeout(5)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def without_card(console: Path) -> bool:
    """Whether the kernel gave the emulated USB hub up, and the boot ended without the network card behind it."""
    text = _text(console)
    ended = re.search(r"Cloud-init v\. .* finished", text)
    return bool(ended) and "attempt power cycle" in text and f"idVendor={CARD_VENDOR}" not in text


def _text(console: Path) -> str:
    return console.read_text(errors="replace") if console.is_file() else ""


def reached(console: Path) -> str:
    """How far a boot came, read from its console."""
    text = _text(console)
    stages = (
        ("the SSH server was started", r"Started .*ssh\.service|OpenBSD Secure Shell"),
        ("cloud-init ran", r"Cloud-init v\."),
        ("systemd was up", r"systemd\[1\]|Welcome to"),
        ("the root file system was mounted", r"EXT4-fs \(\S+\): mounted"),
        ("the kernel ran", r"Linux version"),
    )
    for stage, pattern in stages:
        if re.search(pattern, text):
            failed = re.findall(r"\[FAILED\] (.*)", text)
            return stage + (f"; failed: {', '.join(failed[:4])}" if failed else "")
    return "nothing was printed"


def ssh_command(node: seed.Node, port: int, key: Path, known_hosts: Path) -> list[str]:
    """An SSH client that asks nothing and trusts only the pinned key."""
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "ConnectTimeout": "20",
        "HostKeyAlias": node.name,
    }
    words = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return [find("ssh") or "ssh", *words, "-i", str(key), "-p", str(port), f"{node.user}@127.0.0.1"]


def set_clock(ssh: Sequence[str]) -> None:
    """Set the guest's clock: like the board it has none of its own, and its network reaches no time server."""
    run([*ssh, "sudo", "-n", "date", "--utc", "--set", f"@{int(time.time())}"], limit_seconds=120)


def identity(ssh: Sequence[str], limit_seconds: float) -> dict[str, str]:
    """Wait for cloud-init to be done and read back who the node is."""
    script = (
        "cloud-init status --wait >/dev/null 2>&1 || true; "
        "hostname; uname -m; ip -4 -o addr show scope global; cat /sys/firmware/devicetree/base/model | tr -d '\\0'; echo; "
        "cat /run/cloud-init/result.json 2>/dev/null | tr -d '\\n'; echo; df -B1 --output=size / | tail -1; "
        "systemctl is-system-running || true; sudo -n sshd -T | grep -i '^passwordauthentication'"
    )
    said = run([*ssh, script], limit_seconds=limit_seconds).decode(errors="replace").splitlines()
    names = ("hostname", "architecture", "address", "model", "cloud_init", "root_bytes", "system", "passwords")
    return dict(zip(names, (line.strip() for line in said), strict=False))
