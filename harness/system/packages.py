"""Debian packages: those that bring a tool to the controller, and the list of every node's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.errors import BadInputError
from harness.paths import ANSIBLE
from harness.system.commands import find

# What MXNet's wheels need of the system, and what every node has.
MXNET_PACKAGES = ANSIBLE / "mxnet-packages.txt"
NODE_PACKAGES = (ANSIBLE / "node-packages.txt", MXNET_PACKAGES)
# Debian's names of architectures, by the kernel's.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

# Where the tool has another name than its package.
PACKAGE_OF = {
    "blkid": "util-linux",
    "bridge": "iproute2",
    "cc": "gcc libc6-dev",
    "chroot": "coreutils",
    "debugfs": "e2fsprogs",
    "ip": "iproute2",
    "lsblk": "util-linux",
    "mcopy": "mtools",
    "mdir": "mtools",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "nft": "nftables",
    "nsenter": "util-linux",
    "qemu-aarch64-static": "qemu-user-static",
    "qemu-system-aarch64": "qemu-system-arm",
    "sfdisk": "fdisk",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "tc": "iproute2",
    "umount": "mount",
    "unshare": "util-linux",
    "xz": "xz-utils",
}


def packages_of(tools: Iterable[str]) -> list[str]:
    """Names of the packages that bring `tools`, sorted. Pure."""
    return sorted({PACKAGE_OF.get(tool, tool) for tool in tools})


def require(*tools: str) -> None:
    """Raise BadInputError naming the Debian packages of all `tools` that are not installed."""
    missing = [tool for tool in tools if find(tool) is None]
    if missing:
        raise BadInputError(f"not installed: {', '.join(missing)}", f"apt-get install {' '.join(packages_of(missing))}")


def own_architecture() -> str:
    """Debian's name of this machine's architecture."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


# A package of a list; behind it, in brackets, the architectures that have it, as in Debian's control files.
_LISTED = re.compile(r"(?P<name>[a-z0-9][a-z0-9.+-]*)(?:\s+\[(?P<architectures>[a-z0-9 -]+)\])?")


def read_packages(lists: Sequence[Path], architecture: str, extra: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the packages in the list files and `extra`, sorted, each once.

    A list has one package a line, `NAME` or `NAME [ARCHITECTURE ...]`, which is left out on any other than Debian's
    `architecture` (`amd64`, `arm64`); # begins a comment. Raises BadInputError where a list file is missing or has
    another line.
    """
    names = set(extra)
    for path in lists:
        if not path.is_file():
            raise BadInputError(f"{path}: no such package list", "name the file with one Debian package a line")
        lines = (line.split("#", 1)[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
        for line in filter(None, lines):
            listed = _LISTED.fullmatch(line)
            if listed is None:
                raise BadInputError(f"{path}: {line!r} is no package", "one a line: NAME, or NAME [amd64]")
            if architecture in (listed["architectures"] or architecture).split():
                names.add(listed["name"])
    return tuple(sorted(names))
