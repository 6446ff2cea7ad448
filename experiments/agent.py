#!/usr/bin/env python3
"""The launcher's hand on a node: starts, watches and stops the ranks of a trial. Standard library only.

The harness runs `agent.py VERB` on a node, over SSH or as a local process, and speaks to it on stdin and stdout: a request
is one JSON line (for `run`, files that ranks begin with follow it), a reply one JSON line, and `follow` a stream of frames (a
JSON line, and as many raw bytes after it as its `bytes` says). Every rank has a *keeper*: this program again (`agent.py keep
DIRECTORY`), the main process of the rank's systemd unit or process group. The keeper writes the rank's exit state, and ends
the rank when the harness has not renewed its lease: a harness that was killed, or a controller that lost its power, leaves
nothing running.

A rank's directory, `<root>/trials/<run>/<trial>/<node>/<rank>/` (nodes that are one machine share the root):
    spec.json      command, environment, limits (mode 0600: the environment holds the trial's token)
    output         stdout and stderr of the rank, in order
    checkpoint.npz what the rank can be continued from (the harness names the file); resume.npz what it began with
    keeper.json    process id, start time and boot of the keeper
    exit.json      how it ended; written last, atomically
It is removed once the harness has all of it. `<root>/held/<node>.json` is locked while a harness uses the node.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO, NoReturn

Json = dict[str, Any]

POLL_SECONDS = 0.2
BEAT_SECONDS = 1.0
STATE_BEATS = 4
CHUNK = 1 << 18
TERM_GRACE_SECONDS = 2.0
COMMAND_TIMEOUT_SECONDS = 30.0
# The harness sends a request at once, but for the one that it may make of an agent that has answered `enter`.
REQUEST_SECONDS = 30.0
PARKED_SECONDS = 600.0
# A keeper is a Python that starts on a board that may have a lot to do.
KEEPER_START_SECONDS = 30.0
TAKE_OVER_SECONDS = 3.0
# A disk with less is taken for full when a rank fails.
FULL_DISK_BYTES = 1 << 20
RESERVE_BYTES = 4096
LONGEST_UNIT_NAME = 200
# A larger checkpoint is not sent: the harness reads no longer frame.
LARGEST_CHECKPOINT_BYTES = 8 << 20
# The kernel's out-of-memory killer should take the rank, not the keeper, the agent or sshd.
RANK_OOM_SCORE = 500
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


# --- files ---


def write_json(path: Path, value: Json, mode: int = 0o644) -> None:
    """Write a file so that a reader sees all of it or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file)
    temporary.replace(path)


def read_json(path: Path) -> Json | None:
    """A JSON object, or None where the file is absent or torn."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


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


# --- keep: the main process of a rank's unit ---


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


def descendants(pid: int) -> list[int]:
    """Every live process below one, children before grandchildren."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in children.read_text(encoding="ascii").split()]
    return found + [deeper for child in found for deeper in descendants(child)]


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

    def in_child() -> None:
        # A keeper that was killed takes its rank along.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(RANK_OOM_SCORE), encoding="ascii")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)

    try:
        with (directory / "output").open("ab") as output:
            process = subprocess.Popen(
                spec["command"],
                cwd=spec.get("directory") or directory,
                env={**os.environ, **spec["environment"]},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=in_child,  # noqa: PLW1509 - this process has one thread
            )
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


# --- start and stop ---


def sudo(command: list[str]) -> list[str]:
    """The command, as root; it fails where sudo would ask for a password."""
    return command if os.geteuid() == 0 else ["sudo", "-n", *command]


def run_command(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a short command to its end; raises TimeoutExpired."""
    return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS, check=False)


def unit_name(run: str, trial: str, rank: str) -> str:
    """The systemd unit of a rank; a long trial id gives way to its hash, since a unit's name has an end."""
    if len(run) + len(trial) > LONGEST_UNIT_NAME:
        trial = hashlib.sha256(trial.encode()).hexdigest()[:16]
    return f"harness-{run}-{trial}-{rank}.service"


class RefusedError(Exception):
    """What the harness asked for must not be done."""


def trial_directory(request: Json) -> Path:
    """Where the ranks of a trial on this node have their directories."""
    return Path(request["root"], "trials", request["run"], request["trial"], request["node"])


def stop_file(request: Json) -> Path:
    """Is there once this attempt at a trial was stopped: a start that comes late must not bring it back."""
    return Path(request["root"], "trials", request["run"], f".stopped-{request['node']}-{request.get('attempt')}")


def make_room(request: Json) -> None:
    """Stop and remove what earlier trials of this run left here; raises RefusedError where another run has the node.

    Nothing, where ranks are to start `beside` those that run: one that takes another's place.
    """
    if request.get("beside"):
        return
    trials = Path(request["root"], "trials")
    for path in living(trials.glob(f"*/*/{request['node']}/*/spec.json")):
        if path.parents[2].name != request["run"]:
            raise RefusedError(f"the node is held by run {path.parents[2].name}")
    run = trials / request["run"]
    earlier = list(run.glob(f"*/{request['node']}"))
    if any(living(path.glob("*/spec.json")) for path in earlier):
        stop({**request, "trial": None, "attempt": None})
    for path in earlier:
        shutil.rmtree(path)
    for path in run.glob(f".stopped-{request['node']}-*"):
        if path != stop_file(request):
            path.unlink(missing_ok=True)


def living(specs: Iterable[Path]) -> list[Path]:
    """The directories of ranks whose keeper lives, of the paths of their specs."""
    return [spec.parent for spec in specs if keeper_pid(spec.parent)]


def start(request: Json, files: dict[str, bytes] | None = None) -> Json:
    """Start the ranks of `request["ranks"]` on this node; replies with the ones that could not be started.

    `files` are what ranks begin with, by rank. Raises RefusedError where the node is another run's.
    """
    make_room(request)
    base = trial_directory(request)
    base.mkdir(parents=True)
    (base / "lease").touch()
    starting: list[tuple[str, subprocess.Popen[str]]] = []
    for rank in request["ranks"]:
        directory = base / rank["name"]
        directory.mkdir()
        spec = {key: request.get(key) for key in ("lease_seconds", "time_limit_seconds", "directory")}
        own = {"command": rank["command"], "environment": rank["environment"], "stop_file": str(stop_file(request))}
        write_json(directory / "spec.json", {**spec, **own}, 0o600)
        if files and rank["name"] in files:
            (directory / request["resume"]["file"]).write_bytes(files[rank["name"]])
        command = keeper_command(request, rank["name"], directory)
        # The keeper must not hold the pipes of this connection open.
        errors = subprocess.PIPE if request["supervisor"] == "systemd" else subprocess.DEVNULL
        starting.append(
            (
                rank["name"],
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    text=True,
                    start_new_session=True,
                ),
            )
        )
    failed = {}
    if request["supervisor"] == "systemd":
        for name, process in starting:
            try:
                _, error = process.communicate(timeout=COMMAND_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                error = f"systemd-run did not answer within {COMMAND_TIMEOUT_SECONDS:.0f} s"
            if process.returncode != 0:
                failed[name] = error.strip()
    return {"failed": failed}


def compiled() -> Path:
    """This file, compiled where the probe before a sweep left it so: every keeper would compile it again, on a small board."""
    source = Path(__file__).resolve()
    cached = source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
    return cached if cached.is_file() else source


def keeper_command(request: Json, rank: str, directory: Path) -> list[str]:
    """The command that starts a rank's keeper, as a transient unit or as a plain process."""
    keeper = [sys.executable, "-I", "-S", str(compiled()), "keep", str(directory)]
    if request["supervisor"] == "process":
        return keeper
    unit = unit_name(request["run"], request["trial"], rank)
    properties = [
        "--property=KillMode=mixed",
        f"--property=TimeoutStopSec={2 * TERM_GRACE_SECONDS + 1:.0f}",
        "--property=OOMPolicy=continue",
        "--property=LimitNOFILE=65536",
        f"--property=WorkingDirectory={directory}",
    ]
    return sudo(
        [
            "systemd-run",
            "--quiet",
            "--no-ask-password",
            "--collect",
            f"--unit={unit}",
            f"--uid={os.getuid()}",
            *properties,
            "--",
            *keeper,
        ]
    )


def stop(request: Json) -> Json:
    """Stop the ranks of a trial, a run, or every run on this node; replies with what was stopped and what is left."""
    root = Path(request["root"]) / "trials"
    run, trial = request.get("run") or "*", request.get("trial") or "*"
    if request.get("attempt"):
        with contextlib.suppress(OSError):
            stop_file(request).parent.mkdir(parents=True, exist_ok=True)
            stop_file(request).touch()
    # Every run of this node or, where the whole node is cleaned, of those that share its machine.
    node = request["node"] if request.get("run") else "*"
    directories = [path.parent for path in root.glob(f"{run}/{trial}/{node}/*/spec.json")]
    alive = [path for path in directories if left_processes(path)]
    units: list[str] = []
    if request["supervisor"] == "systemd":
        glob = unit_name(run, trial, "*") if request.get("run") else "harness-*.service"
        listed = run_command(["systemctl", "list-units", "--plain", "--no-legend", "--all", glob])
        units = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]
        if units:
            run_command(sudo(["systemctl", "stop", *units]))
            run_command(sudo(["systemctl", "reset-failed", *units]))
    else:
        stop_keepers(alive)
    left = [describe(path) for path in alive if left_processes(path)]
    return {"stopped": sorted(describe(path) for path in alive) or units, "left": left}


def stop_keepers(directories: list[Path]) -> None:
    """Have the keepers of ranks end them; kill what does not obey, and what a killed keeper left."""
    for pid in filter(None, map(keeper_pid, directories)):
        signal_process(pid, signal.SIGTERM)
    wait_for_end(directories, 2 * TERM_GRACE_SECONDS + 1 if any(map(keeper_pid, directories)) else 0)
    for path in directories:
        for pid in left_processes(path):
            signal_process(pid, signal.SIGKILL)
    wait_for_end(directories, 1.0)


def wait_for_end(directories: list[Path], seconds: float) -> None:
    """Wait until no process of these ranks is left, at most so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(left_processes(path) for path in directories):
        time.sleep(0.05)


def signal_process(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def describe(directory: Path) -> str:
    """A rank's directory as `<run>/<trial>/<rank>`."""
    return f"{directory.parents[2].name}/{directory.parents[1].name}/{directory.name}"


def clean(request: Json) -> Json:
    """Stop all that any run left on this node, and remove what runs left on its disk, other sweeps' code included."""
    other = holder(request)
    if other and not request.get("force"):
        raise RefusedError(f"is held by run {other.get('run')} ({other.get('harness')})")
    result = stop({**request, "run": None, "trial": None, "attempt": None})
    root = Path(request["root"])
    freed = 0
    for directory in [root / "trials", *((root / "code").glob("*") if (root / "code").is_dir() else [])]:
        if directory.name == request.get("keep_code") or not directory.exists():
            continue
        freed += sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
        shutil.rmtree(directory)
    return {**result, "freed_bytes": freed}


# --- follow ---


def send(frame: Json, payload: bytes = b"") -> None:
    """Write one frame to the harness."""
    out: BinaryIO = sys.stdout.buffer
    if payload:
        frame["bytes"] = len(payload)
    out.write(json.dumps(frame).encode() + b"\n" + payload)
    out.flush()


class Followed:
    """What one rank has written since an offset, and whether it lives.

    It is looked at several times a second beside a training that is measured: a look is two system calls.
    """

    def __init__(self, directory: Path, offset: int, checkpoint: str | None = None) -> None:
        self.directory = directory
        self.offset = offset
        self.ended = False
        self._checkpoint = str(directory / checkpoint) if checkpoint else None
        self._sent: tuple[int, int] | None = None
        self._exit = str(directory / "exit.json")
        self._output = -1
        self._state: Json | None = None
        self._since = time.monotonic()
        self._next_look = 0.0

    def forward(self) -> bool:
        """Send a piece of what is new, or the exit state once all of the output went out; True where there may be more."""
        if self._state is None and (time.monotonic() >= self._next_look or os.path.exists(self._exit)):  # noqa: PTH110
            self._next_look = time.monotonic() + BEAT_SECONDS
            self._state = self._exit_state()
        data = self._read()
        if data:
            send({"frame": "output", "rank": self.directory.name, "offset": self.offset}, data)
            self.offset += len(data)
        elif self._state:
            self.forward_checkpoint()
            ended = self._state.pop("ended_monotonic", None)
            ago = time.monotonic() - ended if ended is not None else 0.0
            send({"frame": "exit", "rank": self.directory.name, "seconds_ago": ago, **self._state})
            self.ended = True
        return bool(data)

    def forward_checkpoint(self) -> None:
        """Send the rank's checkpoint if it is another than the one sent last; it is only ever replaced as a whole."""
        if self._checkpoint is None:
            return
        with contextlib.suppress(OSError):
            found = os.stat(self._checkpoint, follow_symlinks=False)  # noqa: PTH116 - several times a second
            version = (found.st_ino, found.st_mtime_ns)
            fit = S_ISREG(found.st_mode) and 0 < found.st_size <= LARGEST_CHECKPOINT_BYTES
            if version == self._sent or not fit:
                return
            with os.fdopen(os.open(self._checkpoint, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                data = file.read(LARGEST_CHECKPOINT_BYTES)
            self._sent = version
            send({"frame": "checkpoint", "rank": self.directory.name}, data)

    def is_stopped(self) -> bool:
        """Whether the rank's process lives but was stopped (SIGSTOP): nothing but a look at it tells."""
        keeper = keeper_pid(self.directory)
        if keeper is None:
            return False
        stats = [read_text(f"/proc/{pid}/stat") or "" for pid in [keeper, *descendants(keeper)]]
        return any(stat.rpartition(")")[2].split()[:1] == ["T"] for stat in stats)

    def _read(self) -> bytes:
        try:
            if self._output < 0:
                self._output = os.open(self.directory / "output", os.O_RDONLY)
            if os.fstat(self._output).st_size <= self.offset:
                return b""
            return os.pread(self._output, CHUNK, self.offset)
        except OSError:
            return b""

    def _exit_state(self) -> Json | None:
        """How the rank ended; None while it lives."""
        keeper = read_json(self.directory / "keeper.json")
        alive = lives(keeper)
        # Read after the look at the keeper: it writes this last of all.
        state = read_json(self.directory / "exit.json")
        if state is None:
            starting = keeper is None and time.monotonic() - self._since <= KEEPER_START_SECONDS
            if alive or starting:
                return None
            message = "its keeper ended without a word"
            if keeper is None:
                message = f"its keeper did not start within {KEEPER_START_SECONDS:.0f} s"
            elif keeper["boot_id"] != boot_id():
                message = "its node was rebooted"
            state = {"reason": "lost", "code": None, "signal": None, "message": message}
        if state["reason"] == "lost" or state.get("code"):
            with contextlib.suppress(OSError):
                free = shutil.disk_usage(self.directory.parents[3]).free
                state["disk_free_bytes"] = free if free < FULL_DISK_BYTES else None
        return state


def follow(request: Json) -> None:
    """Stream output, exit states and telemetry until stdin closes.

    A byte on stdin renews the lease of every rank, and says that the harness is there; `q` says that it has everything, so
    that the trial's directory can go. `request["offsets"]` says where to go on: a stream that was cut continues without
    loss or repetition.
    """
    base = trial_directory(request)
    checkpoint = (request.get("checkpoint") or {}).get("file")
    keeps = (request.get("checkpoint") or {}).get("ranks", ())
    ranks = [
        Followed(base / name, offset, checkpoint if name in keeps else None)
        for name, offset in request["offsets"].items()
    ]
    telemetry = Telemetry(float(request.get("telemetry_seconds") or 0))
    os.set_blocking(sys.stdin.fileno(), False)
    last_beat = 0.0
    beats = 0
    stopped: list[str] = []
    heard = time.monotonic()
    more = False
    while time.monotonic() - heard < request["lease_seconds"]:
        # One piece of every rank in turn: a rank that floods its log must not keep this loop from anything else.
        readable, _, _ = select.select([sys.stdin], [], [], 0 if more else POLL_SECONDS)
        if readable:
            data = sys.stdin.buffer.read()
            if data == b"":
                return
            heard = time.monotonic()
            if b"q" in data:
                forget(request)
                return
            with contextlib.suppress(OSError):
                os.utime(base / "lease")
        running = [rank for rank in ranks if not rank.ended]
        more = sum([rank.forward() for rank in running]) > 0
        for rank in running:
            if not rank.ended:
                rank.forward_checkpoint()
        now = time.monotonic()
        if now - last_beat >= BEAT_SECONDS:
            last_beat = now
            beats += 1
            if beats % STATE_BEATS == 0:
                stopped = [rank.directory.name for rank in ranks if not rank.ended and rank.is_stopped()]
            send({"frame": "beat", "stopped": stopped})
        sample = telemetry.sample(now)
        if sample:
            send({"frame": "telemetry", **sample})


def forget(request: Json) -> None:
    """Remove a trial's directory: the harness has collected all of it. Nothing is removed while a rank lives."""
    base = trial_directory(request)
    directories = [spec.parent for spec in base.glob("*/spec.json")]
    wait_for_end(directories, TERM_GRACE_SECONDS)  # a keeper that wrote its last word may still be on its way out
    if not any(map(left_processes, directories)):
        shutil.rmtree(base, ignore_errors=True)
        with contextlib.suppress(OSError):
            base.parent.rmdir()


# --- hold ---


def holder_path(request: Json) -> Path:
    """Says who uses this node; locked for as long as that is so."""
    return Path(request["root"], "held", f"{request['node']}.json")


def holder(request: Json) -> Json | None:
    """Who holds this node, or None: {"run": .., "harness": ..}."""
    try:
        with holder_path(request).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return read_json(holder_path(request)) or {"run": "?", "harness": "another harness"}
    except OSError:
        return None
    return None


def hold(request: Json) -> None:
    """Keep the node for one harness until its stdin closes, or nothing came on it for the length of a lease.

    Replies `held`, or `refused` with the holder. A harness that lost its connection takes its own hold over.
    """
    path = holder_path(request)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        deadline = time.monotonic() + TAKE_OVER_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                other = read_json(path) or {}
                if other.get("harness") != request["harness"] or time.monotonic() > deadline:
                    send({"frame": "refused", "holder": other})
                    return
                if lives(other.get("process")):
                    signal_process(int(other["process"]["pid"]), signal.SIGTERM)
                time.sleep(0.05)
        file.truncate(0)
        file.write(json.dumps({**{k: request[k] for k in ("run", "harness")}, "process": identity(os.getpid())}))
        file.flush()
        send({"frame": "held"})
        while select.select([sys.stdin], [], [], request["lease_seconds"])[0] and os.read(0, CHUNK):
            pass


# --- telemetry ---


def read_text(path: str) -> str | None:
    """A file of /proc or /sys, or None where this kernel has none."""
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None


def network_bytes() -> tuple[int, int]:
    """Bytes sent and received by all interfaces but loopback."""
    sent = received = 0
    for line in (read_text("/proc/net/dev") or "").splitlines()[2:]:
        name, _, counters = line.partition(":")
        if name.strip() != "lo":
            fields = counters.split()
            received += int(fields[0])
            sent += int(fields[8])
    return sent, received


def in_container() -> bool:
    """Whether this node is a container, which sees its host's counters."""
    return Path("/run/systemd/container").exists()


def processes_usage() -> tuple[float, int]:
    """CPU seconds and resident bytes of all processes here: in a container /proc/stat and /proc/meminfo are the host's."""
    ticks = pages = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
            pages += int(fields[21])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")


def machine_usage() -> tuple[float, int]:
    """CPU seconds used by, and memory in use on, this machine."""
    fields = [int(field) for field in (read_text("/proc/stat") or "cpu 0 0 0 0 0 0 0 0").splitlines()[0].split()[1:9]]
    busy = sum(fields) - fields[3] - fields[4]
    memory = dict(line.split(":") for line in (read_text("/proc/meminfo") or "").splitlines() if ":" in line)
    used = int(memory["MemTotal"].split()[0]) - int(memory["MemAvailable"].split()[0])
    return busy / os.sysconf("SC_CLK_TCK"), used * 1024


def temperature() -> float | None:
    """Of the processor, in degrees Celsius."""
    text = read_text("/sys/class/thermal/thermal_zone0/temp")
    return int(text) / 1000 if text and text.strip().lstrip("-").isdigit() else None


def throttled() -> str | None:
    """The firmware's throttling and under-voltage bits, as hexadecimal; None where this is no Pi."""
    text = read_text("/sys/devices/platform/soc/soc:firmware/get_throttled")
    if text:
        return hex(int(text.strip(), 16))
    if shutil.which("vcgencmd"):
        answer = run_command(["vcgencmd", "get_throttled"]).stdout.strip()
        if answer.startswith("throttled="):
            return answer.removeprefix("throttled=")
    return None


class Telemetry:
    """Samples of the node's health, at most one every `seconds`; 0 turns them off."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Not at once: over a few milliseconds, CPU time counted in ticks says nothing.
        self._next = time.monotonic() + min(seconds, 1.0)
        self._usage = processes_usage if in_container() else machine_usage
        self._cpu = self._usage()[0] if seconds else 0.0
        self._at = time.monotonic()
        self._bytes = network_bytes()

    def sample(self, now: float) -> Json | None:
        """A sample if it is time for one."""
        if not self._seconds or now < self._next:
            return None
        self._next = now + self._seconds
        cpu, memory = self._usage()
        elapsed = max(now - self._at, 1e-3)
        percent = max(0.0, 100 * (cpu - self._cpu) / elapsed)
        self._cpu, self._at = cpu, now
        sent, received = network_bytes()
        load = read_text("/proc/loadavg")
        return {
            "cpu_percent": round(percent, 1),
            "memory_used_bytes": memory,
            "load_1m": None if in_container() or not load else float(load.split()[0]),
            "temperature_celsius": temperature(),
            "throttled": throttled(),
            "bytes_sent": sent - self._bytes[0],
            "bytes_received": received - self._bytes[1],
        }


# --- check ---


def wrong_files(dataset: Path) -> list[str]:
    """Files of a data set that are absent or not as long as its `dataset.json` says."""
    listed = read_json(dataset / "dataset.json") or {"files": {}}
    wrong = []
    for name, entry in listed["files"].items():
        path = dataset / name
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            wrong.append(name)
    return wrong


def probe(request: Json) -> Json:
    """What `harness check` wants to know of a node."""
    root = Path(request["root"])
    existing = next(path for path in [root, *root.parents] if path.exists())
    memory = dict(line.split(":") for line in (read_text("/proc/meminfo") or "").splitlines() if ":" in line)
    available = int(memory["MemAvailable"].split()[0]) * 1024
    sudo_ok = request["supervisor"] == "process" or run_command(sudo(["true"])).returncode == 0
    return {
        "time": time.time(),
        "hostname": socket.gethostname(),
        "machine": os.uname().machine,
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "memory_available_bytes": available,
        "disk_free_bytes": shutil.disk_usage(existing).free,
        "root_exists": root.is_dir(),
        "root_writable": os.access(existing, os.W_OK),
        "sudo": sudo_ok,
        "runtime": read_json(root / "runtime" / "runtime.json"),
        "data": {path.name: {"wrong": wrong_files(path)} for path in (root / "data").glob("*") if path.is_dir()},
        "throttled": throttled(),
        "temperature_celsius": temperature(),
        "running": [describe(path) for path in living(root.glob("trials/*/*/*/*/spec.json"))],
        "held": holder(request),
        "trials_bytes": sum(path.stat().st_size for path in root.glob("trials/*/*/*/*/output")),
    }


def enter(request: Json) -> None:
    """Answer like `probe`, then hold the node if that is asked on the same connection: one interpreter's start less."""
    send(probe(request))
    if select.select([0], [], [], PARKED_SECONDS)[0]:
        line = read_request()
        if line:
            hold(json.loads(line))


def serve(request: Json) -> None:
    """Accept connections on the store's port until stdin closes; discard what peers send, then tell them how much it was."""

    def handle(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(COMMAND_TIMEOUT_SECONDS)
            count = 0
            with contextlib.suppress(OSError):
                while data := connection.recv(CHUNK):
                    count += len(data)
                connection.sendall(str(count).encode())

    with socket.create_server((request["address"], request["port"]), backlog=64) as server:
        send({"frame": "listening"})
        while True:
            readable, _, _ = select.select([server, sys.stdin], [], [], COMMAND_TIMEOUT_SECONDS)
            if sys.stdin in readable or not readable:
                return
            threading.Thread(target=handle, args=(server.accept()[0],), daemon=True).start()


def connect(request: Json) -> Json:
    """Open a connection to every peer; send `request["probe_bytes"]` to the one at `request["measure"]` and time it."""
    reached: Json = {}
    for peer in request["peers"]:
        began = time.monotonic()
        try:
            with socket.create_connection((peer, request["port"]), timeout=request["timeout_seconds"]) as connection:
                connection.shutdown(socket.SHUT_WR)
                connection.recv(32)
            reached[peer] = time.monotonic() - began
        except OSError as error:
            reached[peer] = str(error)
    rate = None
    if request.get("measure"):
        data = memoryview(bytes(CHUNK))
        left = request["probe_bytes"]
        with (
            contextlib.suppress(OSError),
            socket.create_connection(
                (request["measure"], request["port"]), timeout=COMMAND_TIMEOUT_SECONDS
            ) as connection,
        ):
            began = time.monotonic()
            while left > 0:
                left -= connection.send(data[: min(left, CHUNK)])
            connection.shutdown(socket.SHUT_WR)
            connection.recv(32)
            rate = request["probe_bytes"] / (time.monotonic() - began)
    return {"reached": reached, "bytes_per_second": rate}


def copy_code(request: Json) -> Json:
    """Copy a sent directory of code to a place of the user's own."""
    target = Path(request["target"]).expanduser()
    shutil.copytree(Path(request["root"], "code", request["source"]), target, dirs_exist_ok=True)
    return {"target": str(target)}


# --- the command line ---


def run(request: Json) -> None:
    """Start ranks and follow them, in one connection."""
    sizes: dict[str, int] = (request.get("resume") or {}).get("bytes", {})
    files = {name: read_exactly(size, request["lease_seconds"]) for name, size in sizes.items()}
    send({"frame": "started", **start(request, files)})
    follow({**request, "offsets": {rank["name"]: 0 for rank in request["ranks"]}})


def main(verb: str) -> int:
    """Run one verb."""
    if verb == "keep":
        return keep(Path(sys.argv[2]))
    streams = {"run": run, "follow": follow, "serve": serve, "hold": hold, "enter": enter}
    replies = {"stop": stop, "clean": clean, "probe": probe, "connect": connect, "copy": copy_code}
    try:
        request = json.loads(read_request())
        if verb in streams:
            streams[verb](request)
        else:
            send(replies[verb](request))
    except BrokenPipeError:
        # The harness is gone; the lease decides about the ranks.
        leave()
    except (OSError, RefusedError, subprocess.TimeoutExpired) as error:
        send({"frame": "error", "error": str(error)})
        return 1
    return 0


def read_request() -> bytes:
    """The request line, read byte by byte so that nothing behind it is taken from a stream's stdin. Raises RefusedError."""
    line = b""
    while not line.endswith(b"\n"):
        byte = read_input(1, REQUEST_SECONDS)
        if not byte:
            break
        line += byte
    return line


def read_exactly(size: int, seconds: float) -> bytes:
    """What follows the request on stdin. Raises RefusedError where it is cut: nothing is started then."""
    data = b""
    while len(data) < size:
        part = read_input(min(size - len(data), CHUNK), seconds)
        if not part:
            raise RefusedError("the connection was cut within the request")
        data += part
    return data


def read_input(size: int, seconds: float) -> bytes:
    """At most so many bytes of stdin, b"" at its end. Raises RefusedError where nothing comes for so long."""
    if not select.select([0], [], [], seconds)[0]:
        raise RefusedError(f"nothing came for {seconds:g} s within the request")
    return os.read(0, size)


def leave() -> NoReturn:
    """End at once: Python would try to flush the closed pipe once more and complain."""
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
