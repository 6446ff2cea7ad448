#!/usr/bin/env python3
"""mmdebstrap's hooks, run as the root file system's root.

customize.py prepare FILES ROOT    put the files in before the packages are configured
customize.py finish ROOT           make it ready for a Pi and leave no identity in it
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SERVICES = ("systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service")
ON_THE_CARD = ("vmlinuz-*", "initrd.img-*", "bootcode.bin", "start.elf", "config.txt", "bcm2837-rpi-3-b.dtb")


def inside(root: Path, *argv: str) -> None:
    """Run a command in the root file system; its failure is the build's."""
    subprocess.run(["/usr/sbin/chroot", str(root), *argv], check=True, timeout=900)


def prepare(files: Path, root: Path) -> None:
    """Copy `files` in, readable by all and owned by root whoever builds."""
    for source in sorted(path for path in files.rglob("*") if path.is_file()):
        target = root / source.relative_to(files)
        for directory in reversed(target.parents):
            if root in directory.parents and not directory.exists():
                directory.mkdir(mode=0o755)
                directory.chmod(0o755)
        target.write_bytes(source.read_bytes())
        target.chmod(0o644)


def finish(root: Path) -> None:
    """Make the one initrd, enable what the node needs, remove what must be its own."""
    inside(root, "systemctl", "enable", *SERVICES)
    # No network target may hold the boot: a node without a cable still comes up for its serial console.
    inside(root, "systemctl", "mask", "systemd-networkd-wait-online.service")
    kernels = sorted(path.name for path in (root / "lib/modules").iterdir())
    if len(kernels) != 1:
        raise SystemExit(f"expected one kernel, found {kernels}")
    inside(root, "update-initramfs", "-c", "-k", kernels[0])
    for pattern in ON_THE_CARD:
        if not list((root / "boot/firmware").glob(pattern)):
            raise SystemExit(f"boot/firmware has no {pattern}")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("", encoding="utf-8")
    for name in ("etc/hostname", "etc/dpkg/dpkg.cfg.d/99mmdebstrap", "etc/apt/apt.conf.d/99mmdebstrap"):
        (root / name).unlink(missing_ok=True)  # mmdebstrap would leave the build's own options for ever


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        finish(Path(sys.argv[2]))
