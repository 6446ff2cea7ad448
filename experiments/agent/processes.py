"""Processes of this machine: which is which, who lives, and what a rank left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from contract import wire

from .files import Json, matching, read_json, read_text

COMMAND_TIMEOUT_SECONDS = 30.0


def processes() -> list[int]:
    """Every process here."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def stat_fields(pid: int) -> list[str]:
    """What the kernel says of a process behind its name, its state first; empty where there is none."""
    # Of its first thread: what a process reads of itself without `task` is QEMU's invention under user-mode emulation, with
    # another start time than others read.
    return (read_text(f"/proc/{pid}/task/{pid}/stat") or "").rpartition(")")[2].split()


def start_ticks(pid: int) -> str | None:
    """The start time of a process in clock ticks; with the id it names one process for ever. None where it has ended."""
    fields = stat_fields(pid)
    return fields[19] if fields and fields[0] != "Z" else None


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
    """Every process of the rank of a directory, also where its keeper was killed."""
    return kept_processes(read_json(directory / "keeper.json"))


def kept_processes(keeper: Json | None) -> list[int]:
    """A keeper, what is in its session, and what its environment names as kept by it: every process that the rank started.

    Those of other users cannot be looked at.
    """
    if not keeper or keeper["boot_id"] != boot_id():
        return []
    return sorted({*session_processes(keeper), *marked_processes({wire.KEEPER: keeper_mark(keeper)})})


def keeper_mark(keeper: Json) -> str:
    """Names a keeper in the environment of what it keeps; no other process of this boot has the same."""
    return f"{keeper['pid']}.{keeper['start_ticks']}"


def marked_processes(marks: Json) -> list[int]:
    """Live processes that were started with these environment variables."""
    wanted = [f"{name}={value}".encode() for name, value in marks.items()]
    found = []
    for pid in processes():
        with contextlib.suppress(OSError):
            said = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if all(mark in said for mark in wanted) and start_ticks(pid):
                found.append(pid)
    return found


def session_processes(keeper: Json) -> list[int]:
    """What is in a keeper's session, itself among it."""
    pid = int(keeper["pid"])
    if start_ticks(pid) not in (None, keeper["start_ticks"]):
        return []  # the number is another process's now, so the session is over
    found = []
    for other in processes():
        fields = stat_fields(other)
        if len(fields) > 3 and fields[3] == str(pid) and fields[0] != "Z":
            found.append(other)
    return found


def descendants(pid: int) -> list[int]:
    """Every live process below one, parents before their children."""
    found = [pid]
    for parent in found:  # grows meanwhile
        for children in matching(Path(f"/proc/{parent}/task"), "*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in children.read_text(encoding="ascii").split()]
    return found[1:]


def signal_process(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_all(look: Callable[[], list[int]], seconds: float) -> bool:
    """Kill what `look` finds until it finds nothing: a chain of forks outruns any single look. False where some are left."""
    deadline = time.monotonic() + seconds
    while found := look():
        if time.monotonic() > deadline:
            return False
        for pid in found:
            signal_process(pid, signal.SIGKILL)
    return True


def sudo(request: Json, command: list[str]) -> list[str]:
    """The command, as root. sudo reads the request's password from stdin; without one it fails where it would ask."""
    if os.geteuid() == 0:
        return command
    # A password that sudo remembers from a moment ago says nothing of the one at hand.
    return ["sudo", *(["-S", "-k", "-p", ""] if sudo_password(request) else ["-n"]), *command]


def sudo_password(request: Json) -> str:
    """What sudo may be told; empty where it is not to be told anything."""
    return "" if os.geteuid() == 0 else request.get(wire.SUDO_PASSWORD) or ""


@contextlib.contextmanager
def sudo_input(request: Json) -> Iterator[int]:
    """The stdin of a command that begins with `sudo`: the password and then nothing, or nothing at all."""
    password = sudo_password(request)
    if not password:
        yield subprocess.DEVNULL
        return
    reading, writing = os.pipe()
    try:
        with open(writing, "wb") as pipe:  # noqa: PTH123 - a descriptor
            pipe.write(f"{password}\n".encode())  # it is shorter than a pipe's buffer
        yield reading
    finally:
        os.close(reading)


def run_as_root(request: Json, command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a short command to its end as root; raises TimeoutExpired."""
    with sudo_input(request) as stdin:
        return run_command(sudo(request, command), stdin)


def sudo_refusal(request: Json) -> str | None:
    """What sudo says where it does not let this user be root; None where it does."""
    tried = run_as_root(request, ["true"])
    return None if tried.returncode == 0 else (tried.stderr.strip().splitlines() or ["it says nothing"])[-1]


def run_command(command: list[str], stdin: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a short command to its end; raises TimeoutExpired."""
    return subprocess.run(
        command, stdin=stdin, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS, check=False
    )
