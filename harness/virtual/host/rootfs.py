"""The root file system that all nodes of a cluster share, built once for each Debian release and cached."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path

from harness import paths
from harness.system.packages import NODE_PACKAGES, own_architecture, read_packages
from harness.virtual.host import processes
from harness.virtual.host.command import run
from harness.virtual.host.lock import exclusive

# Debian releases that nodes may have; the first is that of a new cluster.
SUITES = ("bookworm", "trixie")
USER = "pi"
_BUILD_LIMIT_SECONDS = 900.0

# Units that mean nothing inside a container and only delay the start.
_MASKED_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty.target",
    "systemd-journal-flush.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "dev-hugepages.mount",
    "sys-fs-fuse-connections.mount",
)
_FILES = {
    "etc/ssh/sshd_config.d/harness.conf": (
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        "UseDNS no\n"
        "PasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\n"
        "PermitRootLogin no\n"
        # a sweep opens one connection a rank, at once
        "MaxStartups 100:30:200\n"
    ),
    # one command that takes too much memory shall not end everybody's connections
    "etc/systemd/system/ssh.service.d/harness.conf": "[Service]\nOOMPolicy=continue\n",
    f"etc/sudoers.d/{USER}": f"{USER} ALL=(ALL) NOPASSWD: ALL\n",
    "etc/systemd/journald.conf.d/harness.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n",
    "etc/resolv.conf": "# no way out of a virtual cluster\n",
    "etc/machine-id": "",
}
_USER_COMMAND = ("useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", USER)


def packages() -> list[str]:
    """Names from the lists of every node's packages, sorted."""
    return list(read_packages(NODE_PACKAGES, own_architecture()))


def key_of(suite: str, names: list[str]) -> str:
    """Name in the cache: a hash of everything the root file system is made from. Pure."""
    inputs = [suite, os.uname().machine, names, _MASKED_UNITS, _FILES, _USER_COMMAND]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]


def place(suite: str) -> Path:
    """Where the root file system of Debian's release `suite` and of today's other inputs is, or will be, cached."""
    return paths.cache_directory() / "rootfs" / key_of(suite, packages())


def ensure(suite: str) -> Path:
    """Return the root file system, built first where it is not cached (half a minute, needs the network)."""
    target = place(suite)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(target.parent / "lock", limit=_BUILD_LIMIT_SECONDS, doing="builds the root file system"):
        if not target.is_dir():
            for abandoned in target.parent.glob("building-*"):
                processes.unmount_below(abandoned)  # a killed build may have left /proc or /dev in it
                shutil.rmtree(abandoned)
            building = target.parent / f"building-{target.name}"
            _build(building, suite, packages())
            building.rename(target)
    return target


def _build(directory: Path, suite: str, names: list[str]) -> None:
    run(
        [
            "mmdebstrap",
            "--mode=root",
            "--format=directory",
            "--variant=minbase",
            "--quiet",
            f"--include={','.join(names)}",
            suite,
            str(directory),
        ],
        limit=_BUILD_LIMIT_SECONDS,
        remedy="it needs a Debian mirror; on another distribution: apt-get install debian-archive-keyring",
    )
    run(["chroot", str(directory), *_USER_COMMAND])
    for path in (directory / "etc/ssh").glob("ssh_host_*"):
        path.unlink()
    for name, content in _FILES.items():
        file = directory / name
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        file.chmod(0o440 if "sudoers" in name else 0o644)
    for unit in _MASKED_UNITS:
        place = directory / "etc/systemd/system" / unit
        place.unlink(missing_ok=True)
        place.symlink_to("/dev/null")
    for directory_with_lists in ("var/lib/apt/lists", "var/cache/apt"):
        for path in (directory / directory_with_lists).rglob("*"):
            if path.is_file():
                path.unlink()
