"""arm64 programs on this machine: whether the kernel hands them to QEMU, and telling it to."""

from __future__ import annotations

import os
from pathlib import Path

from harness.errors import BadInputError, ImageError
from harness.system import commands
from harness.system.packages import require

NAME = "qemu-aarch64"
KERNEL = Path("/proc/sys/fs/binfmt_misc")
# What Debian's packages of QEMU leave for systemd to hand to the kernel; in a container, there is no systemd that does.
FORMAT = Path("/usr/lib/binfmt.d") / f"{NAME}.conf"
# User-mode QEMU then has a Pi 3's processor. By itself it has every extension of the architecture: what runs there might
# not run on a Pi, and programs of Debian 13 sign their return addresses, which QEMU computes slowly.
EMULATED_PROCESSOR = {"QEMU_CPU": "cortex-a53"}
_MOUNT_SECONDS = 20


def runs_foreign_binaries() -> bool:
    """Whether the kernel runs arm64 programs, through an interpreter that also works in other root file systems."""
    entry = KERNEL / NAME
    return entry.is_file() and "enabled" in entry.read_text(encoding="utf-8")


def require_foreign_binaries() -> None:
    """Have the kernel run arm64 programs; root tells it to where nobody did. Raises BadInputError where it does not."""
    require("qemu-aarch64-static")
    if runs_foreign_binaries():
        return
    reason = "root can tell it to"
    if os.geteuid() == 0:
        try:
            _register()
        except (ImageError, OSError) as error:
            reason = str(error)
    if not runs_foreign_binaries():
        raise BadInputError(
            f"this machine does not run arm64 programs: binfmt_misc has no {NAME} ({reason})",
            "as root, and for a container on its host: apt-get install qemu-user-static; mount -t binfmt_misc binfmt_misc "
            f"{KERNEL} (where it is not mounted); cat {FORMAT} > {KERNEL}/register",
        )


def _register() -> None:
    """Tell the kernel what FORMAT says (binfmt.d(5)). Raises ImageError or OSError where it cannot be told."""
    formats = [line for line in FORMAT.read_text(encoding="ascii").splitlines() if line.startswith(":")]
    if not (KERNEL / "register").exists():
        commands.run(
            ["mount", "-t", "binfmt_misc", "binfmt_misc", KERNEL], limit_seconds=_MOUNT_SECONDS, error=ImageError
        )
    for line in formats:
        (KERNEL / "register").write_text(line, encoding="ascii")
