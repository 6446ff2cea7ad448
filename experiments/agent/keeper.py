"""The main process of a rank's unit: runs the rank, ends it when it must, and writes down how it ended."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

from contract import wire

from .files import LEASE, OUTPUT, Json, read_json, write_json
from .processes import descendants, identity, keeper_mark, kept_processes, kill_all, lives, signal_process
from .virtual import cpu

TERM_GRACE_SECONDS = 2.0
RESERVE_BYTES = 4096
# A keeper that is well has ended its rank so long after its lease.
GUARD_GRACE_SECONDS = 3 * TERM_GRACE_SECONDS
# The kernel's out-of-memory killer should take the rank, not the keeper, the agent or sshd.
RANK_OOM_SCORE = 500
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def oom_kills() -> int:
    """The kernel's count of out-of-memory kills."""
    for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0


RESERVED = ".exit.json"


def reserve(directory: Path) -> None:
    """Take the space of the file that says how a rank ended, before it starts. Raises OSError where there is none."""
    (directory / RESERVED).write_bytes(b" " * RESERVE_BYTES)


class ExitState:
    """The file that says how a rank ended. Its space was taken before, so that a full disk cannot swallow it."""

    def __init__(self, directory: Path) -> None:
        self._reserved = directory / RESERVED
        self._directory = directory
        self._path = directory / "exit.json"
        self._began = time.monotonic()

    def write(self, reason: str, code: int | None = None, message: str = "", out_of_memory: bool = False) -> None:
        """Write it, whole or not at all; `code` is as `Popen` has it."""
        state = {
            "reason": reason,
            "code": code if code is not None and code >= 0 else None,
            "signal": -code if code is not None and code < 0 else None,
            "out_of_memory": out_of_memory,
            "message": message[: RESERVE_BYTES // 8],
            # The machine's monotonic clock: who failed first must not hang on the wall clocks of several nodes.
            "ended_monotonic": time.monotonic(),
            "ran_seconds": time.monotonic() - self._began,
            **used_by_children(),
            **cpu.counted(self._directory, cpu.described()),
        }
        if not self._reserved.exists():  # the rank removed its directory
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._reserved.touch()
        with self._reserved.open("r+b") as file:
            file.write(json.dumps(state).encode())
        self._reserved.replace(self._path)


def used_by_children() -> Json:
    """What the keeper's only child, the rank, and all below it used that has been reaped: also what was killed.

    Grandchildren count because the keeper adopts them (it is their subreaper) or because their parents reaped them.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "max_rss_bytes": used.ru_maxrss * 1024,  # of the largest single process
        "context_switches": used.ru_nvcsw + used.ru_nivcsw,
    }


class Lease:
    """Expires when its file has not changed for so many seconds of this machine's monotonic clock.

    The file's content and times are only compared for change, so a step of the wall clock does not end a rank.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._seen: int | None = None
        self._since = time.monotonic()

    def expired(self) -> bool:
        """Whether nobody has renewed it for too long."""
        try:
            now = self._path.stat().st_mtime_ns
        except OSError:
            now = None
        if now != self._seen:
            self._seen = now
            self._since = time.monotonic()
        return time.monotonic() - self._since > self._seconds


def prctl(option: int, value: int) -> None:
    """The system call; Python has no word for it."""
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def reap(process: subprocess.Popen[bytes]) -> None:
    """Reap all children that have ended: the rank through `process` alone, which else never learns how it ended."""
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == process.pid:
                process.poll()
            else:
                os.waitpid(ended.si_pid, os.WNOHANG)


def end_children(process: subprocess.Popen[bytes]) -> bool:
    """End the rank and everything it started: asked first, then killed. False where some are left."""

    def left() -> list[int]:
        reap(process)
        return descendants(os.getpid())

    for pid in left():
        signal_process(pid, signal.SIGTERM)
    deadline = time.monotonic() + TERM_GRACE_SECONDS
    while left() and time.monotonic() < deadline:
        time.sleep(0.02)
    return kill_all(left, TERM_GRACE_SECONDS)


def start_guard(keeper: Json, lease: Lease) -> None:
    """Start a process that ends the rank where its keeper was killed, or hangs when the lease has run out.

    systemd does that for its units. It is no child of the keeper, which ends all of those.
    """
    if os.fork():
        os.wait()
        return
    if os.fork():
        os._exit(0)
    try:
        os.setsid()
        os.chdir("/")
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        overdue: float | None = None
        pidfd = os.pidfd_open(int(keeper["pid"]))
        while lives(keeper) and (overdue is None or time.monotonic() - overdue < GUARD_GRACE_SECONDS):
            select.select([pidfd], [], [], 1.0)
            overdue = (overdue or time.monotonic()) if lease.expired() else None
        time.sleep(1.0)  # who killed the keeper may mean to end the rest too, and wants to know what it ends
        kill_all(lambda: kept_processes(keeper), GUARD_GRACE_SECONDS)
    finally:
        os._exit(0)


def feed_watchdog(address: str) -> None:
    """Tell systemd that this keeper is well; nothing where it is no unit."""
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"WATCHDOG=1", address.replace("@", "\0", 1) if address.startswith("@") else address)


def overrun(spec: Json, directory: Path) -> str:
    """What to say of a rank that printed more than a node keeps; empty where it did not."""
    limit = spec.get("output_limit_bytes")
    with contextlib.suppress(OSError):
        if limit and (directory / OUTPUT).stat().st_size > limit:
            text = f"it had printed more than {limit >> 20} MiB"
            with (directory / OUTPUT).open("ab") as output:
                output.write(f"\nharness: this rank is ended: {text}\n".encode())
            return text
    return ""


def start_rank(spec: Json, directory: Path, blocked: set[signal.Signals]) -> subprocess.Popen[bytes]:
    """Start the rank's command, its output into its file, with no signal blocked. Raises OSError."""

    def in_child() -> None:
        # A keeper that was killed takes its rank along.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(RANK_OOM_SCORE), encoding="ascii")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)

    given = {name: value for name, value in {**os.environ, **spec["environment"]}.items() if value is not None}
    with (directory / OUTPUT).open("ab") as output:
        return subprocess.Popen(
            spec["command"],
            cwd=spec.get("directory") or directory,
            env={**given, **cpu.environment(directory, given, cpu.described(), bool(spec.get("says_ready")))},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=in_child,  # noqa: PLW1509 - this process has one thread
        )


def keep(directory: Path) -> int:
    """Run the rank of a directory to its end, and write down how it ended."""
    signals = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    # Without a handler the kernel would drop SIGCHLD instead of keeping it for sigtimedwait.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    spec = read_json(directory / "spec.json")
    if spec is None:
        return 2
    watchdog = os.environ.pop("NOTIFY_SOCKET", "")
    lease = Lease(directory.parent / LEASE, spec["lease_seconds"])
    itself = identity(os.getpid())
    if not watchdog:
        start_guard(itself, lease)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    exit_state = ExitState(directory)
    deadline = time.monotonic() + spec["time_limit_seconds"] if spec.get("time_limit_seconds") else None
    ooms = oom_kills()
    stop_file = Path(spec["stop_file"])
    try:
        write_json(directory / "keeper.json", itself)
        # Looked at after the keeper made itself known: a stop that came before is seen here, one that comes later sees us.
        if stop_file.exists():
            exit_state.write(wire.STOPPED, message="before it started")
            return 0
        spec["environment"][wire.KEEPER] = keeper_mark(itself)
        process = start_rank(spec, directory, signals)
    except OSError as error:
        exit_state.write(wire.NOT_STARTED, message=str(error))
        return 1
    reason, message = wire.EXITED, ""
    while process.poll() is None:
        received = signal.sigtimedwait(signals, 1.0)
        feed_watchdog(watchdog)
        reap(process)
        if (received is not None and received.si_signo != signal.SIGCHLD) or stop_file.exists():
            reason = wire.STOPPED
        elif lease.expired():
            reason = wire.LEASE_ENDED
        elif deadline is not None and time.monotonic() > deadline:
            reason = wire.TIME_LIMIT
        elif not (directory / "keeper.json").exists():
            reason, message = wire.LOST, "its directory was removed"
        elif message := overrun(spec, directory):
            reason = wire.OUTPUT_LIMIT
        if reason != wire.EXITED:
            break
    if not end_children(process):
        message = f"{message}; processes that it started could not be ended".removeprefix("; ")
    code = process.wait()
    exit_state.write(reason, code, message, out_of_memory=code == -signal.SIGKILL and oom_kills() > ooms)
    # A unit that stays 'failed' would have to be reset; the exit state is in the file.
    return 0
