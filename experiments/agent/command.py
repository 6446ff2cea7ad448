"""The verbs: a request on stdin, its answer on stdout."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

from .files import Json
from .follow import follow
from .hold import hold
from .probe import connect, probe, serve
from .ranks import clean, start, stop
from .wire import RefusedError, read_exactly, read_request, send

PARKED_SECONDS = 600.0


def enter(request: Json) -> None:
    """Answer like `probe`, then hold the node if that is asked on the same connection: one interpreter's start less."""
    send(probe(request))
    if select.select([0], [], [], PARKED_SECONDS)[0]:
        line = read_request()
        if line:
            hold(json.loads(line))


def run(request: Json) -> None:
    """Start ranks and follow them, in one connection."""
    sizes: dict[str, int] = (request.get("resume") or {}).get("bytes", {})
    files = {name: read_exactly(size, request["lease_seconds"]) for name, size in sizes.items()}
    send({"frame": "started", **start(request, files)})
    follow({**request, "offsets": {rank["name"]: 0 for rank in request["ranks"]}})


def copy_code(request: Json) -> Json:
    """Copy a sent directory of code to a place of the user's own."""
    target = Path(request["target"]).expanduser()
    shutil.copytree(Path(request["root"], "code", request["source"]), target, dirs_exist_ok=True)
    return {"target": str(target)}


def main(verb: str) -> int:
    """Run one verb; its exit code."""
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


def leave() -> NoReturn:
    """End at once: Python would try to flush the closed pipe once more and complain."""
    os._exit(0)
