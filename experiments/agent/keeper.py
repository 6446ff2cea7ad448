"""The main process of a rank's unit: runs the rank, ends it when it must, and writes down how it ended."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

from .files import Json, read_json, write_json
from .processes import descendants, identity, signal_process

TERM_GRACE_SECONDS = 2.0
RESERVE_BYTES = 4096
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


class ExitState:
    """The file that says how a rank ended. Its space is taken at the start, so that a full disk cannot swallow it."""

    def __init__(self, directory: Path) -> None:
        self._reserved = directory / ".exit.json"
        self._path = directory / "exit.json"
        self._began = time.monotonic()
        self._reserved.write_bytes(b" " * RESERVE_BYTES)

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
        }
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
    """Reap one child that has ended, if any: the rank through `process` alone, which else never learns how it ended."""
    with contextlib.suppress(ChildProcessError):
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return
        if ended.si_pid == process.pid:
            process.poll()
        else:
            os.waitpid(ended.si_pid, os.WNOHANG)


def end_children(process: subprocess.Popen[bytes]) -> None:
    """End the rank and everything it started: asked first, then killed."""
    for number, grace in ((signal.SIGTERM, TERM_GRACE_SECONDS), (signal.SIGKILL, TERM_GRACE_SECONDS)):
        for pid in descendants(os.getpid()):
            signal_process(pid, number)
        deadline = time.monotonic() + grace
        while descendants(os.getpid()) and time.monotonic() < deadline:
            reap(process)
            time.sleep(0.02)


def start_rank(spec: Json, directory: Path, blocked: set[signal.Signals]) -> subprocess.Popen[bytes]:
    """Start the rank's command, its output into its file, with no signal blocked. Raises OSError."""

    def in_child() -> None:
        # A keeper that was killed takes its rank along.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(RANK_OOM_SCORE), encoding="ascii")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)

    with (directory / "output").open("ab") as output:
        return subprocess.Popen(
            spec["command"],
            cwd=spec.get("directory") or directory,
            env={**os.environ, **spec["environment"]},
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
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    spec = read_json(directory / "spec.json")
    if spec is None:
        return 2
    exit_state = ExitState(directory)
    write_json(directory / "keeper.json", identity(os.getpid()))
    # Looked at after the keeper made itself known: a stop that came before is seen here, one that comes later sees us.
    stop_file = Path(spec["stop_file"])
    if stop_file.exists():
        exit_state.write("stopped", message="before it started")
        return 0
    lease = Lease(directory.parent / "lease", spec["lease_seconds"])
    deadline = time.monotonic() + spec["time_limit_seconds"] if spec.get("time_limit_seconds") else None
    ooms = oom_kills()

    try:
        process = start_rank(spec, directory, signals)
    except OSError as error:
        exit_state.write("start", message=str(error))
        return 1
    reason = "exit"
    while process.poll() is None:
        received = signal.sigtimedwait(signals, 1.0)
        if (received is not None and received.si_signo != signal.SIGCHLD) or stop_file.exists():
            reason = "stopped"
        elif lease.expired():
            reason = "lease"
        elif deadline is not None and time.monotonic() > deadline:
            reason = "time_limit"
        if reason != "exit":
            break
    end_children(process)
    code = process.wait()
    exit_state.write(reason, code, out_of_memory=code == -signal.SIGKILL and oom_kills() > ooms)
    # A unit that stays 'failed' would have to be reset; the exit state is in the file.
    return 0
