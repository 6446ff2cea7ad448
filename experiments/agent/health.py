"""How this node is: what `harness check` and a start want to know, how its peers are reached, and samples of its health."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import sys
import threading
import time
from pathlib import Path

from contract import wire

from .connection import send
from .files import Json, file_bytes, matching, read_json, read_text
from .hold import holder
from .processes import COMMAND_TIMEOUT_SECONDS, boot_id, processes, run_command, stat_fields, sudo_refusal
from .ranks import describe, living
from .virtual import cpu


def wrong_files(dataset: Path) -> list[str]:
    """Files of a data set that are absent or not as long as its `dataset.json` says."""
    listed = read_json(dataset / "dataset.json") or {"files": {}}
    wrong = []
    try:
        for name, entry in listed["files"].items():
            if not _has_size(dataset / name, entry["bytes"]):
                wrong.append(name)
    except (KeyError, TypeError, AttributeError):
        return ["dataset.json"]
    return wrong


def _has_size(path: Path, size: object) -> bool:
    try:
        return path.is_file() and path.stat().st_size == size
    except OSError:  # it went meanwhile
        return False


def probe(request: Json) -> Json:
    """What `harness check` wants to know of a node."""
    root = Path(request["root"])
    existing = next(path for path in [root, *root.parents] if path.exists())
    limit, used = memory_limit()
    refusal = None if request["supervisor"] == wire.SUPERVISOR_PROCESS else sudo_refusal(request)
    return {
        "time": time.time(),
        "hostname": socket.gethostname(),
        "machine": os.uname().machine,
        "python": sys.version.split()[0],
        "cores": os.cpu_count(),
        "machine_id": machine_id(),
        "memory_bytes": min(memory_bytes("MemTotal"), limit),
        "memory_available_bytes": max(0, min(memory_bytes("MemAvailable"), limit - used)),
        "disk_free_bytes": shutil.disk_usage(existing).free,
        "root_writable": may_write(root if root.is_dir() else existing),
        "sudo": refusal is None,
        "sudo_says": refusal or "",
        "runtime": read_json(root / wire.RUNTIME_DIRECTORY / "runtime.json"),
        "runtimes": {
            path.parent.name: read_json(path) for path in matching(root, f"{wire.RUNTIMES_DIRECTORY}/*/runtime.json")
        },
        "data": {
            path.name: {"wrong": wrong_files(path)}
            for path in matching(root / wire.DATA_DIRECTORY, "*")
            if path.is_dir()
        },
        "cpu": cpu.described(),
        "throttled": throttled(),
        "temperature_celsius": temperature(),
        "running": [describe(path) for path in living(matching(root, f"{wire.TRIALS_DIRECTORY}/*/*/*/*/spec.json"))],
        "held": holder(request),
        "trials_bytes": file_bytes(matching(root, f"{wire.TRIALS_DIRECTORY}/*/*/*/*/output")),
    }


def may_write(directory: Path) -> bool:
    """Whether a file can be made there: rights do not tell of a file system that became read-only."""
    trial = directory / f".written-{os.getpid()}"
    try:
        trial.touch()
        trial.unlink()
    except OSError:
        return False
    return True


def machine_id() -> str:
    """Names this boot of this machine or container: the same for all addresses that lead to it."""
    return " ".join([boot_id(), *(str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("net", "pid"))])


def memory_limit() -> tuple[int, int]:
    """The least memory that a control group of this process may use, and what that group uses without its page cache."""
    own = next(
        (line[3:] for line in (read_text("/proc/self/cgroup") or "").splitlines() if line.startswith("0::")), "/"
    )
    groups = Path("/sys/fs/cgroup")
    group = groups / own.strip("/")
    found = [(sys.maxsize, 0)]
    for each in [group, *group.parents]:
        limit = (read_text(f"{each}/memory.max") or "").strip()
        if each.is_relative_to(groups) and limit.isdigit():
            counters = dict(line.split()[:2] for line in (read_text(f"{each}/memory.stat") or "").splitlines())
            used = int(read_text(f"{each}/memory.current") or 0) - int(counters.get("inactive_file", 0))
            found.append((int(limit), used))
    return min(found)


def serve(request: Json) -> None:
    """Accept connections on the store's port until stdin closes; discard what peers send, then tell them how much it was."""

    def handle(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(COMMAND_TIMEOUT_SECONDS)
            count = 0
            with contextlib.suppress(OSError):
                while data := connection.recv(wire.CHUNK_BYTES):
                    count += len(data)
                connection.sendall(str(count).encode())

    with socket.create_server((request["address"], request["port"]), backlog=64) as server:
        send({"frame": wire.LISTENING_FRAME})
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
    rate, reason = None, ""
    if request.get("measure"):
        data = memoryview(bytes(wire.CHUNK_BYTES))
        left = request["probe_bytes"]
        peer = (request["measure"], request["port"])
        try:
            with socket.create_connection(peer, timeout=request["timeout_seconds"]) as connection:
                connection.settimeout(COMMAND_TIMEOUT_SECONDS)
                began = time.monotonic()
                while left > 0:
                    left -= connection.send(data[: min(left, wire.CHUNK_BYTES)])
                connection.shutdown(socket.SHUT_WR)
                connection.recv(32)
                rate = request["probe_bytes"] / (time.monotonic() - began)
        except OSError as error:
            reason = str(error)
    return {"reached": reached, "bytes_per_second": rate, "reason": reason}


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
    for pid in processes():
        with contextlib.suppress(ValueError, IndexError):
            fields = stat_fields(pid)
            ticks += sum(int(field) for field in fields[11:15])
            pages += int(fields[21])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")


def memory_bytes(name: str) -> int:
    """One of the kernel's figures of this machine's memory."""
    figures = dict(line.split(":") for line in (read_text("/proc/meminfo") or "").splitlines() if ":" in line)
    return int(figures[name].split()[0]) * 1024


def machine_usage() -> tuple[float, int]:
    """CPU seconds used by, and memory in use on, this machine."""
    fields = [int(field) for field in (read_text("/proc/stat") or "cpu 0 0 0 0 0 0 0 0").splitlines()[0].split()[1:9]]
    busy = sum(fields) - fields[3] - fields[4]
    return busy / os.sysconf("SC_CLK_TCK"), memory_bytes("MemTotal") - memory_bytes("MemAvailable")


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
