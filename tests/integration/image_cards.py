"""Small hand-made cards with the structure of Raspberry Pi OS: no official image can be had where the tests run."""

import hashlib
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES_PATH = REPOSITORY / "ansible" / "roles" / "image_tools" / "files"
sys.path.insert(0, str(IMAGES_PATH))

from images import card  # noqa: E402

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
        [sys.executable, "-m", "images", name],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        timeout=limit_seconds,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{IMAGES_PATH}:{REPOSITORY}"},
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {}, done.stderr


def leftovers(directory: Path) -> list[str]:
    """Files of a directory that are neither locks nor logs."""
    if not directory.is_dir():
        return []
    return sorted(path.name for path in directory.iterdir() if path.suffix not in (".lock", ".log"))
