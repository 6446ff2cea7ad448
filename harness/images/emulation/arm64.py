"""Runs programs of a node's image under user-mode emulation: slower than nothing, but minutes faster than a boot."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import BadInputError, ImageError
from harness.images.base.binfmt import EMULATED_PROCESSOR, require_foreign_binaries
from harness.images.card import open_card
from harness.images.host import MAKE_IMAGES, require_space, run
from harness.system.packages import require

EXTRACT_SECONDS = 600
# netdevice(7)
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def run_inside(
    image: Path, commands: Sequence[Sequence[str]], binds: Mapping[str, str], directory: Path, limit_seconds: float
) -> list[str]:
    """Output of each command, run in turn inside the image's root file system as its root; the image is not changed.

    `binds` are directories of the controller by the path under which the commands see them.
    """
    require("debugfs", "unshare")
    require_foreign_binaries()
    if not image.is_file():
        raise BadInputError(f"{image}: no such image", MAKE_IMAGES)
    require_space(directory, 2 * image.stat().st_blocks * 512, f"the files of {image.name}")
    with tempfile.TemporaryDirectory(prefix=".root-", dir=directory) as name:
        root = Path(name) / "root"
        root.mkdir()
        run(["debugfs", "-R", f"rdump / {root}", open_card(image).ext4], limit_seconds=EXTRACT_SECONDS)
        if not (root / "usr/bin").is_dir():
            raise ImageError(f"{image.name}: its files could not be read", "make the image again")
        return [_enter(root, command, binds, limit_seconds) for command in commands]


def _enter(root: Path, command: Sequence[str], binds: Mapping[str, str], limit_seconds: float) -> str:
    # its own mounts, no network but loopback, and outside a root shell its own users
    own = ("--mount", "--net", *(() if os.geteuid() == 0 else ("--map-root-user",)))
    said = run(
        ["unshare", *own, sys.executable, "-m", "harness.images", "enter"],
        stdin=json.dumps({"root": str(root), "command": list(command), "binds": dict(binds)}).encode(),
        limit_seconds=limit_seconds,
    )
    return said.decode(errors="replace")


def enter(spec: Mapping[str, Any]) -> None:
    """Become a command inside a root file system; runs in its own mount and network namespaces, of which it has loopback up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
    root = Path(spec["root"])
    for target, source in {"/dev": "/dev", "/proc": "/proc", **spec["binds"]}.items():
        path = root / target.lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
        run(["mount", "--rbind", source, path], limit_seconds=60)
    os.chroot(root)
    os.chdir("/")
    command = [str(word) for word in spec["command"]]
    variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", **EMULATED_PROCESSOR}
    os.execve(command[0], command, variables)  # noqa: S606
