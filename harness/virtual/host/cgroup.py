"""Control groups of the nodes: membership, CPU quota, memory limit, and the kill. Version 1 and 2.

Every node has one group, `<cluster prefix>/<node>`, in each hierarchy that matters: the limits are its, the processes are in
two groups below it, `keeper` and `machine` (version 2 wants processes in leaves only). Membership is the only identity a
node's processes have here: nothing is ever stopped by name or by a recorded number.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ClusterError

# The groups below a node's.
KEEPER = "keeper"
MACHINE = "machine"
# Short periods keep a throttled node's steps smooth; the kernel takes no quota below 1 ms.
PERIOD_MICROSECONDS = 10_000
_LEAST_QUOTA_MICROSECONDS = 1_000
_MOST_PERIOD_MICROSECONDS = 1_000_000
_KILL_LIMIT_SECONDS = 20.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Hierarchies:
    """Mount points: `cpu` and `memory` have those controllers, `others` are the ones systemd needs a place in."""

    version: int
    cpu: Path
    memory: Path
    others: tuple[Path, ...] = ()

    @property
    def all(self) -> tuple[Path, ...]:
        """Every hierarchy a node has a group in, without repeats."""
        return tuple(dict.fromkeys((self.cpu, self.memory, *self.others)))


def parse_mounts(mountinfo: str) -> Hierarchies | None:
    """Find the hierarchies in the text of /proc/self/mountinfo; None when cpu or memory is nowhere. Pure."""
    version1: dict[str, Path] = {}
    unified: Path | None = None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        place = Path(before.split(" ")[4])
        if kind == "cgroup2":
            unified = unified or place
        elif kind == "cgroup":
            for option in options.split(","):
                version1.setdefault(option, place)
    if "cpu" in version1 and "memory" in version1:
        named = version1.get("name=systemd")
        others = tuple(place for place in (named, unified) if place is not None)
        return Hierarchies(1, version1["cpu"], version1["memory"], others)
    return Hierarchies(2, unified, unified) if unified is not None else None


def find_hierarchies() -> Hierarchies:
    """The hierarchies of this machine; ClusterError when the controllers that nodes need are not there."""
    found = parse_mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    if found is not None and found.version == 2:
        available = (found.cpu / "cgroup.controllers").read_text(encoding="ascii").split()
        if not {"cpu", "memory"} <= set(available):
            found = None
    if found is None:
        raise ClusterError(
            "the kernel's cpu and memory cgroup controllers are not available here",
            "boot with `cgroup_enable=memory` and mount them: mount -t cgroup2 none /sys/fs/cgroup",
        )
    return found


def least_fraction(dilation: float = 1.0) -> float:
    """The fewest cores that the kernel's least quota and longest period allow, in time slowed down by `dilation`. Pure."""
    return dilation * _LEAST_QUOTA_MICROSECONDS / _MOST_PERIOD_MICROSECONDS


def quota_and_period(fraction: float, dilation: float = 1.0) -> tuple[int, int]:
    """CPU quota and period in microseconds for `fraction` cores, in time slowed down by `dilation`. Pure.

    Fewer than `least_fraction` become that many: the kernel has no smaller share.
    """
    period = max(PERIOD_MICROSECONDS * dilation, _LEAST_QUOTA_MICROSECONDS * dilation / fraction)
    period = min(round(period), _MOST_PERIOD_MICROSECONDS)
    return max(_LEAST_QUOTA_MICROSECONDS, round(fraction / dilation * period)), period


def as_kept(fraction: float | None, dilation: float = 1.0) -> float | None:
    """What `set_quota` makes `quota` answer, in whole microseconds. Pure."""
    if fraction is None:
        return None
    quota, period = quota_and_period(fraction, dilation)
    return quota / period


class NodeGroup:
    """The control group of one node, in all hierarchies."""

    def __init__(self, hierarchies: Hierarchies, cluster: str, node: str) -> None:
        self._hierarchies = hierarchies
        self._path = Path(cluster) / node

    def _in(self, hierarchy: Path) -> Path:
        return hierarchy / self._path

    @property
    def directories(self) -> tuple[Path, ...]:
        """The node's directory in each hierarchy."""
        return tuple(self._in(hierarchy) for hierarchy in self._hierarchies.all)

    def create(self) -> None:
        """Make the group, and the keeper's below it, where they are missing."""
        try:
            for directory in self.directories:
                directory.mkdir(parents=True, exist_ok=True)
            self._reach_below()
            for directory in self.below(KEEPER):
                directory.mkdir(exist_ok=True)
        except OSError as error:
            raise ClusterError(
                f"control group {self._path} cannot be made: {error}", "run as root, not inside a container"
            ) from error

    def _reach_below(self) -> None:
        """Make limits hold for the groups below, before there are any."""
        if self._hierarchies.version == 2:
            root = self._hierarchies.cpu
            for parent in (root, root / self._path.parent, root / self._path):
                (parent / "cgroup.subtree_control").write_text("+cpu +memory", encoding="ascii")
            return
        switch = self._in(self._hierarchies.memory) / "memory.use_hierarchy"  # always on from Linux 5.11
        if switch.exists() and switch.read_text(encoding="ascii").strip() == "0":
            switch.write_text("1", encoding="ascii")

    def below(self, part: str) -> list[Path]:
        """The directories of the group `part` (`KEEPER` or `MACHINE`) below this one."""
        return [directory / part for directory in self.directories]

    def has_keeper(self) -> bool:
        """Whether the process that keeps the node on is there."""
        return any(_processes_below(directory) for directory in self.below(KEEPER))

    def set_quota(self, fraction: float | None, dilation: float = 1.0) -> None:
        """Limit the group to `fraction` cores, in time slowed down by `dilation`; None lifts the limit."""
        directory = self._in(self._hierarchies.cpu)
        if self._hierarchies.version == 2:
            limit = "max" if fraction is None else "{} {}".format(*quota_and_period(fraction, dilation))
            (directory / "cpu.max").write_text(limit, encoding="ascii")
            return
        quota_file = directory / "cpu.cfs_quota_us"
        # lifted first, so that no step on the way is a quota the kernel refuses for the old period
        quota_file.write_text("-1", encoding="ascii")
        if fraction is not None:
            quota, period = quota_and_period(fraction, dilation)
            (directory / "cpu.cfs_period_us").write_text(str(period), encoding="ascii")
            quota_file.write_text(str(quota), encoding="ascii")

    def quota(self) -> float | None:
        """The limit in force, in cores; None where there is none."""
        directory = self._in(self._hierarchies.cpu)
        try:
            if self._hierarchies.version == 2:
                quota, _, period = (directory / "cpu.max").read_text(encoding="ascii").strip().partition(" ")
            else:
                quota = (directory / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
                period = (directory / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        return None if quota in ("max", "-1") else int(quota) / int(period)

    def set_memory(self, size: int) -> None:
        """Limit the group's memory to `size` bytes, without swap."""
        directory = self._in(self._hierarchies.memory)
        if self._hierarchies.version == 2:
            limits = {"memory.max": size, "memory.swap.max": 0}
        else:
            # the sum's limit may never be below the memory's: lift it, set the memory's, set it
            limits = {"memory.memsw.limit_in_bytes": -1, "memory.limit_in_bytes": size}
        for file, value in limits.items():
            if (directory / file).exists():
                (directory / file).write_text(str(value), encoding="ascii")
        both = directory / "memory.memsw.limit_in_bytes"
        if both.exists():
            both.write_text(str(size), encoding="ascii")

    def memory(self) -> int | None:
        """The memory limit in force in bytes; None where there is no group or limit."""
        file = "memory.max" if self._hierarchies.version == 2 else "memory.limit_in_bytes"
        try:
            text = (self._in(self._hierarchies.memory) / file).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        return None if text == "max" else int(text)

    def processes(self) -> set[int]:
        """Numbers of the processes in the group and all groups below it."""
        return {process for directory in self.directories for process in _processes_below(directory)}

    def kill(self) -> None:
        """Kill every process of the group and wait until none is left; ClusterError when some stay."""
        deadline = time.monotonic() + _KILL_LIMIT_SECONDS
        while remaining := self.processes():
            self._kill_members(remaining)
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"processes {sorted(remaining)} of {self._path} do not die",
                    "they wait for the kernel: see `ps -eo pid,stat,wchan:30,args`, then run `harness cluster down` again",
                )
            time.sleep(_POLL_SECONDS)

    def _kill_members(self, listed: set[int]) -> None:
        """Kill those of `listed` that are still members once their numbers are pinned, so that none can be a stranger's."""
        with contextlib.ExitStack() as stack:
            pinned: dict[int, int] = {}
            for process in listed:
                with contextlib.suppress(ProcessLookupError):
                    pinned[process] = os.pidfd_open(process)
                    stack.callback(os.close, pinned[process])
            for process in self.processes() & pinned.keys():
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pinned[process], signal.SIGKILL)

    def remove(self) -> None:
        """Remove the group's (empty) directories."""
        for directory in self.directories:
            remove_tree(directory)


def cluster_nodes(hierarchies: Hierarchies, cluster: str) -> list[str]:
    """Names of the nodes that have a group in any hierarchy under `cluster`."""
    return sorted(
        {
            directory.name
            for hierarchy in hierarchies.all
            if (hierarchy / cluster).is_dir()
            for directory in (hierarchy / cluster).iterdir()
            if directory.is_dir()
        }
    )


def remove_tree(directory: Path) -> None:
    """Remove an empty control group with all below it; nothing happens where it is gone."""
    deadline = time.monotonic() + _KILL_LIMIT_SECONDS
    for place, _, _ in os.walk(directory, topdown=False):
        while True:
            try:
                Path(place).rmdir()
                break
            except FileNotFoundError:
                break
            except OSError as error:  # busy for a moment after the last process has gone
                if time.monotonic() > deadline:
                    raise ClusterError(f"control group {place} cannot be removed: {error}", "run it again") from error
                time.sleep(_POLL_SECONDS)


def _processes_below(directory: Path) -> set[int]:
    found: set[int] = set()
    for place, _, _ in os.walk(directory):
        with contextlib.suppress(FileNotFoundError, OSError):
            found.update(int(line) for line in (Path(place) / "cgroup.procs").read_text(encoding="ascii").split())
    return found - {0}
