"""Small hand-made cards with the structure of Raspberry Pi OS: no official image can be had where the tests run."""

import hashlib
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.images import card, host
from harness.paths import REPOSITORY
from harness.system.commands import find

MIB = 1 << 20
OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux {version}"\nID=debian\nVERSION_CODENAME={codename}\n'
COMMON = {
    "etc/rpi-issue": "Raspberry Pi reference 2025-05-13\n",
    "etc/fstab": "proc /proc proc defaults 0 0\nPARTUUID=1-01 /boot/firmware vfat defaults 0 2\n",
    "etc/ssh/sshd_config.d/.keep": "",
    "usr/lib/ld-linux-aarch64.so.1": "",
}
BOOKWORM = COMMON | {
    "usr/lib/os-release": OS_RELEASE.format(version="12 (bookworm)", codename="bookworm"),
    "usr/lib/raspberrypi-sys-mods/imager_custom": "",
    "usr/lib/userconf-pi/userconf": "",
}
TRIXIE = COMMON | {
    "usr/lib/os-release": OS_RELEASE.format(version="13 (trixie)", codename="trixie"),
    "usr/bin/cloud-init": "",
}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAITestKeyOnly somebody"
NODE = {"name": "pi01", "address": "10.0.0.1", "user": "pi", "authorized_keys": [KEY], "gateway": "10.0.0.254"}
TOOLS = ("sfdisk", "mkfs.vfat", "mkfs.ext4", "mcopy", "debugfs", "xz", "ssh-keygen")
need_tools = [
    pytest.mark.image,
    pytest.mark.skipif(any(find(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"),
]
LOOP_TOOLS = ("losetup", "lsblk", "blkid", "mkswap", "mkfs.ext4")


def loop_obstacle() -> str:
    """Why this machine has no loop devices for a test; empty where it has."""
    if os.geteuid() != 0:
        return "loop devices need root"
    if not Path("/dev/loop-control").exists():
        return "this kernel has no loop devices"
    return "" if all(find(tool) for tool in LOOP_TOOLS) else f"needs {', '.join(LOOP_TOOLS)}"


need_loops = pytest.mark.skipif(bool(loop_obstacle()), reason=loop_obstacle() or "has loop devices")
CARD_BYTES = 320 * MIB
CMDLINE = "console=serial0,115200 console=tty1 root=PARTUUID=1-02 rootfstype=ext4 fsck.repair=yes rootwait quiet\n"


def make_rpios(directory: Path, root: Mapping[str, str], boot: Mapping[str, str] | None = None) -> Path:
    """An unpacked image: 4 MiB gap, FAT, ext4, as the official ones are laid out."""
    trees = {}
    boot = {"cmdline.txt": CMDLINE, "config.txt": "arm_64bit=1\n"} if boot is None else boot
    for label, files in (("root", root), ("boot", boot)):
        trees[label] = directory / label
        trees[label].mkdir(parents=True)
        for name, content in files.items():
            path = trees[label] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    if "usr/lib/os-release" in root:
        (trees["root"] / "etc").mkdir(exist_ok=True)
        (trees["root"] / "etc/os-release").symlink_to("../usr/lib/os-release")
    image = directory / "rpios.img"
    card.make_card(image, trees["root"], trees["boot"], ("bootfs", "rootfs"), 32 * MIB)
    return image


def pack(image: Path) -> tuple[Path, str]:
    """The image as a .img.xz, and its SHA-256."""
    archive = image.with_suffix(".img.xz")
    with image.open("rb") as read, lzma.open(archive, "wb", preset=0) as write:
        while chunk := read.read(4 * MIB):
            write.write(chunk)
    return archive, hashlib.sha256(archive.read_bytes()).hexdigest()


def step(name: str, arguments: Mapping[str, Any], limit_seconds: float = 120) -> tuple[int, dict[str, Any], str]:
    """Run a step as the roles do: exit status, result, and what was said on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.images", name],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        timeout=limit_seconds,
        check=False,
        cwd=REPOSITORY,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr


def leftovers(directory: Path) -> list[str]:
    """Files of a directory that are neither locks nor logs."""
    if not directory.is_dir():
        return []
    return sorted(path.name for path in directory.iterdir() if path.suffix not in (".lock", ".log"))


def check_identity(image: Path, key: str) -> card.Card:
    opened = card.open_card(image)
    private = card.ext_read(opened, "/etc/ssh/harness_host_ed25519_key")
    assert private is not None
    assert private.startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    assert card.ext_read(opened, "/etc/ssh/harness_host_ed25519_key.pub") == f"{key} root@pi01\n".encode()
    assert b"PasswordAuthentication no" in (card.ext_read(opened, "/etc/ssh/sshd_config.d/10-harness.conf") or b"")
    host.run(["e2fsck", "-fn", opened.ext4], limit_seconds=60)
    return opened


def sh(*argv: str | Path) -> str:
    """What a command prints."""
    return host.run(list(argv), limit_seconds=60).decode().strip()


@contextmanager
def blank_card(directory: Path) -> Iterator[str]:
    """A loop device of CARD_BYTES zeros."""
    backing = directory / "card"
    with backing.open("wb") as file:
        file.truncate(CARD_BYTES)
    loop = sh("losetup", "--find", "--show", "--partscan", backing)
    try:
        yield loop
    finally:
        sh("losetup", "--detach", loop)


def token(loop: str) -> str:
    """What confirms that a blank card is to be written."""
    return f"{Path(loop).name}-{CARD_BYTES}"


def untouched(loop: str) -> bool:
    """Whether a card begins as a blank one does."""
    with Path(loop).open("rb") as file:
        return not any(file.read(MIB))
