"""The emulated board: what it boots of a card, and QEMU's arguments for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BadInputError
from harness.images.card import Card, fat_list, fat_read
from harness.images.nodes.card_node import CardNode, network_of
from harness.system.commands import find

MACHINES = ("raspi3b", "virt")
MIN_CARD_BYTES = 2 << 30
# An address of the Raspberry Pi foundation's: with a locally administered one the kernel would name the interface usb0.
MAC = "b8:27:eb:00:00:01"


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


def command(machine: str, boot: Boot, card: Path, node: CardNode, port: int, console: Path) -> list[str]:
    """QEMU's arguments: the node has its own address, on a network that reaches nothing but this machine's SSH client."""
    network = f"{node.address}/{node.prefix_length}"
    net = network_of(node)
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


def _dhcp_start(net: Any, node: CardNode, gateway: str) -> str:
    """QEMU gives the first client this address: with DHCP the node gets the one reserved for it.

    A node of a Wi-Fi has no radio there: its cable, which asks for an address, gets its own.
    """
    if node.dhcp or node.wifi:
        return node.address
    return next(str(host) for host in net.hosts() if str(host) not in (node.address, gateway))
