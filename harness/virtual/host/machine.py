"""One node as a machine: its disk (an overlay of the shared root file system) and its systemd-nspawn."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from harness.errors import ClusterError
from harness.nodes import namespace
from harness.system.commands import tool_environment
from harness.virtual.host import processes
from harness.virtual.host.cgroup import KEEPER, MACHINE, NodeGroup
from harness.virtual.host.command import run
from harness.virtual.host.names import VirtualNode
from harness.virtual.host.rootfs import USER

_LOG_LINES = 15
_NSPAWN = Path("/run/systemd/nspawn")
# Keeps a node on: with --keep-unit, systemd-nspawn ends with 133 when its node reboots and leaves starting it to others.
# Arguments: the keeper's own control groups, the machine's, systemd-nspawn's command. The machine's are made anew for each
# start: version 2 lets no process into a group whose controllers systemd-nspawn has handed on to those below.
_KEEPER = """
join() { for group do echo 0 > "$group/cgroup.procs" || exit 1; done; }
renew() { for group do [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} +; mkdir "$group" || exit 1; done; }
join $1; groups=$2; shift 2
while :; do
    renew $groups
    (join $groups; exec "$@")
    [ $? -eq 133 ] || exit
done
"""


class Machine:
    """One node's disk and processes, in `directory`. Its operations are idempotent."""

    def __init__(self, node: VirtualNode, directory: Path, group: NodeGroup) -> None:
        self.node = node
        self.group = group
        self._directory = directory
        self._root = directory / "root"
        self._finished = directory / "disk"
        self._console = directory / "console.log"

    @property
    def state(self) -> str:
        """`absent` (no disk), `off`, `running`, or `crashed` (its systemd-nspawn died and left processes)."""
        if not self.has_disk:
            return "absent"
        if self.group.has_keeper():
            return "running"
        return "crashed" if self.group.processes() else "off"

    @property
    def root(self) -> Path:
        """The node's root file system, as this machine sees it."""
        return self._root

    @property
    def is_running(self) -> bool:
        """Whether the node has power."""
        return self.state == "running"

    @property
    def has_disk(self) -> bool:
        """Whether the node's disk was finished, and the root file system below it is still cached."""
        return self._finished.is_file() and (self._directory / "rootfs").is_dir()

    def make_disk(self, rootfs: Path, host_key: Path, authorized_key: str) -> None:
        """Give the node a fresh disk over `rootfs`, with its name, host key and the user's key."""
        self.remove_disk()
        for name in ("upper", "work", "root"):
            (self._directory / name).mkdir(parents=True)
        (self._directory / "rootfs").symlink_to(rootfs)
        self.mount()
        _write(self._root / "etc/hostname", f"{self.node.name}\n")
        _write(self._root / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {self.node.name}\n")
        target = self._root / "etc/ssh/ssh_host_ed25519_key"
        _write(target, host_key.read_text(encoding="ascii"), 0o600)
        _write(target.with_suffix(".pub"), host_key.with_name(host_key.name + ".pub").read_text(encoding="ascii"))
        self._authorize(authorized_key)
        self._finished.touch()

    def _authorize(self, key: str) -> None:
        home = self._root / "home" / USER
        owner = home.stat()
        directory = home / ".ssh"
        directory.mkdir(mode=0o700)
        file = directory / "authorized_keys"
        _write(file, f"{key}\n", 0o600)
        for path in (directory, file):
            os.chown(path, owner.st_uid, owner.st_gid)

    def mount(self) -> None:
        """Mount the disk where it is not mounted."""
        if self._root.is_mount():
            return
        lower = (self._directory / "rootfs").resolve()
        options = f"lowerdir={lower},upperdir={self._directory / 'upper'},workdir={self._directory / 'work'}"
        run(
            ["mount", "-t", "overlay", self.node.namespace, "-o", options, str(self._root)],
            remedy="put the state on a plain file system such as ext4: HARNESS_STATE_DIR=/var/lib/harness",
        )

    def unmount(self) -> None:
        """Unmount the disk where it is mounted."""
        while self._root.is_mount():
            run(["umount", str(self._root)])

    def remove_disk(self) -> None:
        """Remove the disk and all the node wrote."""
        self._finished.unlink(missing_ok=True)
        self.unmount()
        if self._directory.exists():
            shutil.rmtree(self._directory)

    def start(self, memory: int) -> None:
        """Boot the node inside its control group with `memory` bytes and no CPU limit; returns at once."""
        self.mount()
        self._remove_remains()
        self.group.create()
        self.group.set_memory(memory)
        self.group.set_quota(None)
        keeper, machine = (" ".join(map(str, self.group.below(part))) for part in (KEEPER, MACHINE))
        with self._console.open("wb") as console:
            subprocess.Popen(
                ["sh", "-c", _KEEPER, "keeper", keeper, machine, *self.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # only its network is the node's to set
                env=tool_environment() | {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
                cwd="/",
            )

    def arguments(self) -> list[str]:
        """The command that runs the node."""
        return [
            "systemd-nspawn",
            "--quiet",
            "--settings=no",
            "--register=no",
            "--keep-unit",
            "--boot",
            f"--directory={self._root}",
            f"--network-namespace-path={namespace.NAMESPACES / self.node.namespace}",
            f"--machine={self.node.namespace}",
            f"--hostname={self.node.name}",
            "--link-journal=no",
            "--resolv-conf=off",
            "--timezone=off",
            "--console=read-only",
            "--suppress-sync=yes",
            "--setenv=TERM=dumb",  # a console that can be read in an error message
            # For the node's own firewall and socket settings, in its own namespace; its link is shaped on both ends of the
            # switch port, which lie outside.
            "--capability=CAP_NET_ADMIN",
        ]

    def stop(self) -> None:
        """Pull the plug: kill everything the node runs; its disk stays."""
        self.group.kill()
        self._remove_remains()

    def _remove_remains(self) -> None:
        """Remove what a killed systemd-nspawn leaves: the next one would refuse to start, or it would stay for ever."""
        export = _NSPAWN / "unix-export" / self.node.namespace  # mounted from systemd 256 on
        processes.unmount_below(export)
        for directory in (export, _NSPAWN / "propagate" / self.node.namespace):
            if directory.is_dir():
                directory.rmdir()
        if self._root.is_mount():
            place = self._root.stat()
            (_NSPAWN / "locks" / f"inode-{place.st_dev}:{place.st_ino}").unlink(missing_ok=True)

    def failure(self, message: str) -> ClusterError:
        """An error about this node, with the end of its console."""
        lines: list[str] = []
        if self._console.is_file():
            lines = self._console.read_text(encoding="utf-8", errors="replace").splitlines()
            lines = [line for line in lines if line.strip()][-_LOG_LINES:]
        console = "".join(f"\n    {line}" for line in lines)
        return ClusterError(
            f"{self.node.name}: {message}{console}", f"see {self._console}; `harness cluster up` tries again"
        )


def _write(file: Path, text: str, mode: int = 0o644) -> None:
    file.unlink(missing_ok=True)
    file.touch(mode=mode)
    file.chmod(mode)
    file.write_text(text, encoding="utf-8")
