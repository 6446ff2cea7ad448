"""What `harness check` and a start want to know of a node, and how its peers are reached."""

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

from .files import Json, read_json, read_text
from .hold import holder
from .processes import COMMAND_TIMEOUT_SECONDS, run_command, sudo
from .ranks import describe, living
from .telemetry import temperature, throttled
from .wire import CHUNK, send


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
