"""Processes of this machine: which is which, who lives, and what a rank left."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from .files import Json, read_json, read_text

COMMAND_TIMEOUT_SECONDS = 30.0


def start_ticks(pid: int) -> str | None:
    """The start time of a process in clock ticks; with the id it names one process for ever. None where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def boot_id() -> str:
    """Names this boot of the machine."""
    return (read_text("/proc/sys/kernel/random/boot_id") or "").strip()


def identity(pid: int) -> Json:
    """What names a process for ever: its id, its start time, and the boot."""
    return {"pid": pid, "start_ticks": start_ticks(pid), "boot_id": boot_id()}


def lives(process: Json | None) -> bool:
    """Whether the process of an `identity` still runs."""
    return process is not None and process == identity(int(process["pid"])) and process["start_ticks"] is not None


def keeper_pid(directory: Path) -> int | None:
    """The rank's keeper if it lives."""
    keeper = read_json(directory / "keeper.json")
    return int(keeper["pid"]) if keeper and lives(keeper) else None


def left_processes(directory: Path) -> list[int]:
    """Every process of a rank: its keeper and, also where that was killed, what is in the keeper's session."""
    keeper = read_json(directory / "keeper.json")
    if not keeper or keeper["boot_id"] != boot_id():
        return []
    pid = int(keeper["pid"])
    if start_ticks(pid) not in (None, keeper["start_ticks"]):
        return []  # the number is another process's now, so the session is over
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = (read_text(str(stat)) or "").rpartition(")")[2].split()
        if len(fields) > 3 and fields[3] == str(pid) and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def descendants(pid: int) -> list[int]:
    """Every live process below one, children before grandchildren."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in children.read_text(encoding="ascii").split()]
    return found + [deeper for child in found for deeper in descendants(child)]


def signal_process(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def sudo(command: list[str]) -> list[str]:
    """The command, as root; it fails where sudo would ask for a password."""
    return command if os.geteuid() == 0 else ["sudo", "-n", *command]


def run_command(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a short command to its end; raises TimeoutExpired."""
    return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS, check=False)
