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

from .files import Json, read_json
from .processes import identity, lives, signal_process
from .wire import CHUNK, send

TAKE_OVER_SECONDS = 3.0


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
