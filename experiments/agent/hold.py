"""One harness at a time: a lock that lasts as long as its connection."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import sys
import time
from pathlib import Path

from contract import wire

from .connection import send
from .files import Json, read_json, read_text
from .processes import identity, lives, signal_process
from .receive import make_private

TAKE_OVER_SECONDS = 3.0


def holder_path(request: Json) -> Path:
    """Says who uses this node; locked for as long as that is so."""
    return Path(request["root"], wire.HELD_DIRECTORY, f"{request['node']}.json")


def holder(request: Json) -> Json | None:
    """Who holds this node, or None: {"run": .., "harness": ..}."""
    path = holder_path(request)
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return true_holder(path)
    except OSError:
        return None
    return None


def true_holder(path: Path) -> Json:
    """Who has locked a holder's file: whom it names, if that process lives, or else the process that the kernel names."""
    named = read_json(path) or {}
    if lives(named.get("process")):
        return named
    pid = locking_process(path)
    if pid is None:
        return {"run": "?", "harness": "another harness"}
    command = (read_text(f"/proc/{pid}/cmdline") or "").replace("\0", " ").strip() or "unknown"
    try:
        user = str(Path(f"/proc/{pid}").stat().st_uid)
    except OSError:
        user = "?"
    return {"run": "?", "harness": f"process {pid} of user {user} there, no harness: {command[:80]}"}


def locking_process(path: Path) -> int | None:
    """The process that the kernel says has locked a file; None where it does not say."""
    try:
        found = path.stat()
    except OSError:
        return None
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in (read_text("/proc/locks") or "").splitlines():
        fields = line.split()
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == device and fields[4].isdigit():
            return int(fields[4])
    return None


def hold(request: Json) -> None:
    """Keep the node for one harness until its stdin closes, or nothing came on it for the length of a lease.

    Replies `held`, and again whenever it is renewed, or `refused` with the holder. A harness that lost its connection takes
    its own hold over.
    """
    path = holder_path(request)
    make_private(path.parent)
    with path.open("a+") as file:
        deadline = time.monotonic() + TAKE_OVER_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                other = read_json(path) or {}
                if other.get("harness") != request["harness"] or time.monotonic() > deadline:
                    send({"frame": wire.REFUSED_FRAME, "holder": true_holder(path)})
                    return
                if lives(other.get("process")):
                    signal_process(int(other["process"]["pid"]), signal.SIGTERM)
                time.sleep(0.05)
        file.truncate(0)
        file.write(json.dumps({**{k: request[k] for k in ("run", "harness")}, "process": identity(os.getpid())}))
        file.flush()
        send({"frame": wire.HELD_FRAME})
        while select.select([sys.stdin], [], [], request["lease_seconds"])[0] and os.read(0, wire.CHUNK_BYTES):
            send({"frame": wire.HELD_FRAME})
