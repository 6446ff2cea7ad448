"""What this machine needs for a virtual cluster, checked before anything is made."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

from harness.errors import BadInputError, ClusterError
from harness.system.commands import find
from harness.system.packages import packages_of

_COMMANDS = ("systemd-nspawn", "mmdebstrap", "ip", "tc", "ssh", "ssh-keygen", "mount", "umount", "chroot")
_INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES_OF_A_NODE = 7  # measured on nodes that run


def require_root() -> None:
    """BadInputError for anyone but root on Linux."""
    if platform.system() != "Linux":
        raise BadInputError("virtual clusters need Linux", "use `-i local` here")
    if os.geteuid() != 0:
        raise BadInputError("virtual clusters need root", "run it with sudo, or use `-i local`")


def missing_packages() -> list[str]:
    """Debian packages whose commands are not there."""
    return packages_of(command for command in _COMMANDS if find(command) is None)


def require_all() -> None:
    """Raise BadInputError or ClusterError naming what is missing and the command that gets it."""
    require_root()
    if missing := missing_packages():
        raise BadInputError(f"missing packages: {', '.join(missing)}", f"apt-get install {' '.join(missing)}")
    if "\toverlay\n" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        loaded = (
            shutil.which("modprobe")
            and subprocess.run(["modprobe", "overlay"], check=False, timeout=30).returncode == 0
        )
        if not loaded:
            raise ClusterError(
                "this kernel has no overlay file system", "run `modprobe overlay`, or install a full kernel"
            )


def require_inotify(starting: int) -> None:
    """ClusterError where the kernel's limit on root's inotify instances has no room for `starting` more nodes.

    systemd in a node needs some; without them a node stays half up, and nothing says why.
    """
    limit = int(_INOTIFY_LIMIT.read_text(encoding="ascii"))
    used = _inotify_instances()
    wanted = starting * INOTIFY_INSTANCES_OF_A_NODE
    if starting and used + wanted > limit:
        raise ClusterError(
            f"{starting} more nodes want about {wanted} inotify instances, {used} of the kernel's limit of {limit} are in use",
            f"run `sysctl -w fs.inotify.max_user_instances={_round_up(used + wanted)}`",
        )


def _inotify_instances() -> int:
    """Inotify instances that processes of root have open, all over the machine."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == 0:
                count += sum(str(link.readlink()) == "anon_inode:inotify" for link in (process / "fd").iterdir())
    return count


def _round_up(count: int) -> int:
    return 1 << count.bit_length()
