"""What `down` must find on the machine: processes inside the cluster's namespaces, mounts below its directory."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from harness.errors import ClusterError
from harness.nodes import namespace
from harness.virtual.host.command import run

_GRACE_SECONDS = 3.0
_KILL_LIMIT_SECONDS = 10.0
_POLL_SECONDS = 0.05


def end_all_in(names: list[str]) -> list[str]:
    """End the processes inside network namespaces `names`, save this one and its ancestors; return what they were."""
    spared = _ancestry()
    ended: dict[int, str] = {}
    start = time.monotonic()
    while found := _inside(names) - spared:
        waited = time.monotonic() - start
        if waited > _GRACE_SECONDS + _KILL_LIMIT_SECONDS:
            raise ClusterError(
                f"processes {sorted(found)} do not die", "end them by hand, then run `harness cluster down` again"
            )
        for process in found:
            first = process not in ended
            if first:
                ended[process] = f"process {process} ({program_of(process)})"
            if first or waited > _GRACE_SECONDS:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM if waited <= _GRACE_SECONDS else signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    return list(ended.values())


def bind(source: Path, place: Path) -> None:
    """Bind file `source` to `place` where nothing is mounted there yet."""
    if place not in mounts_below(place, Path("/proc/self/mountinfo").read_text(encoding="utf-8")):
        place.touch()
        run(["mount", "--bind", str(source), str(place)])


def unmount_below(directory: Path) -> None:
    """Unmount everything that is mounted below `directory`, the deepest and latest first."""
    for place in reversed(mounts_below(directory, Path("/proc/self/mountinfo").read_text(encoding="utf-8"))):
        run(["umount", str(place)], remedy="see who uses it with `fuser -vm`, then run `harness cluster down` again")


def mounts_below(directory: Path, mountinfo: str) -> list[Path]:
    """Mount points below `directory`, in the order they were mounted, from the text of /proc/self/mountinfo. Pure."""
    places = [Path(line.split(" ")[4].encode().decode("unicode_escape")) for line in mountinfo.splitlines()]
    return [place for place in places if place.is_relative_to(directory)]


def _inside(names: list[str]) -> set[int]:
    wanted = set()
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            wanted.add((namespace.NAMESPACES / name).stat().st_ino)
    found = set()
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                if (directory / "ns/net").stat().st_ino in wanted:
                    found.add(int(directory.name))
    return found


def _ancestry() -> set[int]:
    spared, process = set(), os.getpid()
    while process > 0:
        spared.add(process)
        process = _parent_of(process)
    return spared


def _parent_of(process: int) -> int:
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])


def program_of(process: int) -> str:
    """Name of the program that `process` runs; empty when it is gone."""
    try:
        return Path(f"/proc/{process}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
