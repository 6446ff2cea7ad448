#!/usr/bin/env python3
"""The launcher's hand on a node: starts, watches and stops the ranks of a trial. Standard library only.

The harness runs `agent.py VERB` on a node, over SSH or as a local process, and speaks to it on stdin and stdout: a request
is one JSON line, a reply one JSON line, and `follow` a stream of frames (a JSON line, and as many raw bytes after it as its
`bytes` says). Every rank has a *keeper*: this program again (`agent.py keep DIRECTORY`), the main process of the rank's
systemd unit or process group. The keeper writes the rank's exit state, and ends the rank when the harness has not renewed
its lease: a harness that was killed, or a controller that lost its power, leaves nothing running.

A rank's directory, `<root>/trials/<run>/<trial>/<node>/<rank>/` (nodes that are one machine share the root):
    spec.json      command, environment, limits (mode 0600: the environment holds the trial's token)
    output         stdout and stderr of the rank, in order
    keeper.json    process id and start time of the keeper
    exit.json      how it ended; written last, atomically
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

Json = dict[str, Any]

POLL_SECONDS = 0.2
BEAT_SECONDS = 1.0
CHUNK = 1 << 18
TERM_GRACE_SECONDS = 2.0
COMMAND_TIMEOUT_SECONDS = 30.0
LOST_AFTER_SECONDS = 3.0
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


def keeper_pid(directory: Path) -> int | None:
    """The rank's keeper if it lives."""
    keeper = read_json(directory / "keeper.json")
    if keeper and start_ticks(int(keeper["pid"])) == keeper["start_ticks"]:
        return int(keeper["pid"])
    return None


# --- keep: the main process of a rank's unit ---


def oom_kills() -> int:
    """The kernel's count of out-of-memory kills."""
    for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0


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


def end_children(process: subprocess.Popen[bytes]) -> None:
    """End the rank and everything it started: asked first, then killed."""
    for number, grace in ((signal.SIGTERM, TERM_GRACE_SECONDS), (signal.SIGKILL, TERM_GRACE_SECONDS)):
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + grace
        while descendants(os.getpid()) and time.monotonic() < deadline:
            process.poll()
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
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
    write_json(directory / "keeper.json", {"pid": os.getpid(), "start_ticks": start_ticks(os.getpid())})
    lease = Lease(directory.parent / "lease", spec["lease_seconds"])
    deadline = time.monotonic() + spec["time_limit_seconds"] if spec.get("time_limit_seconds") else None
    ooms = oom_kills()

    def in_child() -> None:
        # A keeper that was killed takes its rank along.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)

    try:
        with (directory / "output").open("ab") as output:
            process = subprocess.Popen(
                spec["command"],
                cwd=directory,
                env={**os.environ, **spec["environment"]},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=in_child,  # noqa: PLW1509 - this process has one thread
            )
    except OSError as error:
        write_json(directory / "exit.json", {"reason": "start", "code": None, "signal": None, "message": str(error)})
        return 1
    reason = "exit"
    while process.poll() is None:
        received = signal.sigtimedwait(signals, 1.0)
        if received is not None and received.si_signo != signal.SIGCHLD:
            reason = "stopped"
        elif lease.expired():
            reason = "lease"
        elif deadline is not None and time.monotonic() > deadline:
            reason = "time_limit"
        if reason != "exit":
            break
    end_children(process)
    code = process.wait()
    state: Json = {
        "reason": reason,
        "code": code if code >= 0 else None,
        "signal": -code if code < 0 else None,
        "out_of_memory": code == -signal.SIGKILL and oom_kills() > ooms,
        "message": "",
        "ended_at": time.time(),
    }
    write_json(directory / "exit.json", state)
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
    """The systemd unit of a rank."""
    return f"harness-{run}-{trial}-{rank}.service"


def trial_directory(request: Json) -> Path:
    """Where the ranks of a trial on this node have their directories."""
    return Path(request["root"], "trials", request["run"], request["trial"], request["node"])


def start(request: Json) -> Json:
    """Start the ranks of `request["ranks"]` on this node; replies with the ones that could not be started."""
    base = trial_directory(request)
    if base.exists():
        # An earlier attempt at this trial: its ranks have been stopped, its output has been collected.
        shutil.rmtree(base)
    base.mkdir(parents=True)
    (base / "lease").touch()
    starting: list[tuple[str, subprocess.Popen[str]]] = []
    for rank in request["ranks"]:
        directory = base / rank["name"]
        directory.mkdir()
        spec = {key: request[key] for key in ("lease_seconds", "time_limit_seconds")}
        write_json(
            directory / "spec.json", {**spec, "command": rank["command"], "environment": rank["environment"]}, 0o600
        )
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


def keeper_command(request: Json, rank: str, directory: Path) -> list[str]:
    """The command that starts a rank's keeper, as a transient unit or as a plain process."""
    keeper = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), "keep", str(directory)]
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
    # Every run of this node or, where the whole node is cleaned, of those that share its machine.
    directories = [
        path.parent for path in root.glob(f"{run}/{trial}/{request['node'] if request.get('run') else '*'}/*/spec.json")
    ]
    alive = [path for path in directories if keeper_pid(path)]
    units: list[str] = []
    if request["supervisor"] == "systemd":
        glob = unit_name(run, trial, "*") if request.get("run") else "harness-*.service"
        listed = run_command(["systemctl", "list-units", "--plain", "--no-legend", "--all", glob])
        units = [line.split()[0] for line in listed.stdout.splitlines() if line.strip()]
        if units:
            run_command(sudo(["systemctl", "stop", *units]))
            run_command(sudo(["systemctl", "reset-failed", *units]))
    else:
        for number, grace in ((signal.SIGTERM, 2 * TERM_GRACE_SECONDS + 1), (signal.SIGKILL, 1.0)):
            for path in alive:
                pid = keeper_pid(path)
                if pid:
                    os.kill(pid, number)
            deadline = time.monotonic() + grace
            while any(keeper_pid(path) for path in alive) and time.monotonic() < deadline:
                time.sleep(0.02)
    left = [describe(path) for path in alive if keeper_pid(path)]
    return {"stopped": sorted(describe(path) for path in alive) or units, "left": left}


def describe(directory: Path) -> str:
    """A rank's directory as `<run>/<trial>/<rank>`."""
    return f"{directory.parents[2].name}/{directory.parents[1].name}/{directory.name}"


def clean(request: Json) -> Json:
    """Stop all that any run left on this node, and remove what runs left on its disk, other sweeps' code included."""
    result = stop({**request, "run": None, "trial": None})
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
    """What one rank has written since an offset, and whether it lives."""

    def __init__(self, directory: Path, offset: int) -> None:
        self.directory = directory
        self.offset = offset
        self.ended = False
        self._since = time.monotonic()

    def forward(self) -> bool:
        """Send what is new; True where there may be more."""
        try:
            with (self.directory / "output").open("rb") as file:
                file.seek(self.offset)
                data = file.read(CHUNK)
        except OSError:
            return False
        if data:
            send({"frame": "output", "rank": self.directory.name, "offset": self.offset}, data)
            self.offset += len(data)
        return len(data) == CHUNK

    def check(self) -> None:
        """Send the exit state once the rank has ended and all of its output went out."""
        state = read_json(self.directory / "exit.json")
        if state is None:
            if keeper_pid(self.directory):
                self._since = time.monotonic()
            elif time.monotonic() - self._since > LOST_AFTER_SECONDS:
                state = {"reason": "lost", "code": None, "signal": None, "message": "its keeper ended without a word"}
                free = shutil.disk_usage(self.directory).free
                if free < CHUNK:
                    state["message"] += f"; the node's disk is full ({free} bytes free)"
        if state is not None:
            while self.forward():
                pass
            send({"frame": "exit", "rank": self.directory.name, **state})
            self.ended = True


def follow(request: Json) -> None:
    """Stream output, exit states and telemetry until stdin closes; a byte on stdin renews the lease of every rank.

    `request["offsets"]` says where to go on, so that a stream that was cut continues without loss or repetition.
    """
    base = trial_directory(request)
    lease = base / "lease"
    ranks = [Followed(base / name, offset) for name, offset in request["offsets"].items()]
    telemetry = Telemetry(float(request.get("telemetry_seconds") or 0))
    os.set_blocking(sys.stdin.fileno(), False)
    last_beat = 0.0
    while True:
        readable, _, _ = select.select([sys.stdin], [], [], POLL_SECONDS)
        if readable:
            data = sys.stdin.buffer.read()
            if data == b"":
                return
            os.utime(lease)
        more = True
        while more:
            # Every rank gets its turn, so no short-cut evaluation.
            more = sum(rank.forward() for rank in ranks if not rank.ended) > 0
        now = time.monotonic()
        for rank in ranks:
            if not rank.ended:
                rank.check()
        if now - last_beat >= BEAT_SECONDS:
            last_beat = now
            send({"frame": "beat"})
        sample = telemetry.sample(now)
        if sample:
            send({"frame": "telemetry", **sample})


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
        self._next = time.monotonic()
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
        "running": [describe(spec.parent) for spec in root.glob("trials/*/*/*/*/spec.json") if keeper_pid(spec.parent)],
    }


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


# --- the command line ---


def run(request: Json) -> None:
    """Start ranks and follow them, in one connection."""
    send({"frame": "started", **start(request)})
    follow({**request, "offsets": {rank["name"]: 0 for rank in request["ranks"]}})


def main() -> int:
    """Run one verb."""
    verb = sys.argv[1]
    if verb == "keep":
        return keep(Path(sys.argv[2]))
    request = json.loads(read_request())
    streams = {"run": run, "follow": follow, "serve": serve}
    replies = {"stop": stop, "clean": clean, "probe": probe, "connect": connect}
    try:
        if verb in streams:
            streams[verb](request)
        else:
            send(replies[verb](request))
    except BrokenPipeError:
        # The harness is gone; the lease decides about the ranks.
        leave()
    except OSError as error:
        send({"frame": "error", "error": str(error)})
        return 1
    return 0


def read_request() -> bytes:
    """The request line, read byte by byte so that nothing behind it is taken from a stream's stdin."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return line


def leave() -> NoReturn:
    """End at once: Python would try to flush the closed pipe once more and complain."""
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
