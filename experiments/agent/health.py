"""How this node is: what `harness check` and a start want to know, and how its peers are reached."""

from __future__ import annotations

import contextlib
import json
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
from .processes import COMMAND_TIMEOUT_SECONDS, boot_id, sudo_refusal
from .ranks import describe, living
from .telemetry.sampling import memory_bytes, temperature, throttled
from .telemetry.wireless import wireless
from .virtual import cpu

ARRIVAL_SECONDS = 0.1


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
        "wireless": wireless(),
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
    """Accept connections on the store's port until stdin closes; discard what peers send, then tell them how it arrived."""

    def handle(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(COMMAND_TIMEOUT_SECONDS)
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps(arrivals(connection)).encode())

    with socket.create_server((request["address"], request["port"]), backlog=64) as server:
        send({"frame": wire.LISTENING_FRAME})
        while True:
            readable, _, _ = select.select([server, sys.stdin], [], [], COMMAND_TIMEOUT_SECONDS)
            if sys.stdin in readable or not readable:
                return
            threading.Thread(target=handle, args=(server.accept()[0],), daemon=True).start()


def arrivals(connection: socket.socket) -> list[tuple[float, int]]:
    """Take what a peer sends: at moments ARRIVAL_SECONDS apart, the first and the last among them, the seconds from then to
    the end, and the bytes that had come."""
    noted: list[tuple[float, int]] = []
    count = 0
    while data := connection.recv(wire.CHUNK_BYTES):
        count, now = count + len(data), time.monotonic()
        if len(noted) > 1 and now - noted[-2][0] < ARRIVAL_SECONDS:
            noted.pop()
        noted.append((now, count))
    ended = time.monotonic()
    return [(round(ended - moment, 4), count) for moment, count in noted]


def connect(request: Json) -> Json:
    """Open a connection to every peer, and send to the one at `request["measure"]`: at least `request["probe_bytes"]`, for at
    least `request["probe_seconds"]`."""
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
    return {"reached": reached, **(measure(request) if request.get("measure") else {})}


def measure(request: Json) -> Json:
    """The rate at which a peer was sent to, and how that arrived there; or why not."""
    data = bytes(wire.CHUNK_BYTES)
    sent = 0
    try:
        with socket.create_connection(
            (request["measure"], request["port"]), timeout=request["timeout_seconds"]
        ) as connection:
            connection.settimeout(COMMAND_TIMEOUT_SECONDS)
            began = time.monotonic()
            while sent < request["probe_bytes"] or time.monotonic() - began < request["probe_seconds"]:
                sent += connection.send(data)
            connection.shutdown(socket.SHUT_WR)
            told = b"".join(iter(lambda: connection.recv(wire.CHUNK_BYTES), b""))
            rate = sent / (time.monotonic() - began)
        return {"bytes_per_second": rate, "arrivals": json.loads(told)}
    except OSError as error:
        return {"reason": str(error)}
    except ValueError:
        return {"reason": "its answer was cut"}
