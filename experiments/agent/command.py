"""The verbs: a request on stdin, its answer on stdout."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

from contract import wire

from .connection import RefusedError, SudoRefusedError, read_exactly, read_request, send
from .files import Json
from .follow import follow
from .health import connect, probe, serve
from .hold import hold
from .ranks import clean, start, stop
from .receive import CACHES, make_private

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
    send({"frame": wire.STARTED_FRAME, **start(request, files)})
    follow({**request, "offsets": {rank["name"]: 0 for rank in request["ranks"]}})


def copy_code(request: Json) -> Json:
    """Copy a sent directory of code to where its ranks work: a place of the user's own, or of the job's."""
    source, target = Path(request["root"], wire.CODE_DIRECTORY, request["source"]), Path(request["target"]).expanduser()
    if Path(request["root"], wire.JOBS_DIRECTORY) in target.parents:
        make_private(Path(request["root"], wire.JOBS_DIRECTORY))
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        copied = target / path.relative_to(source)
        if path.is_dir():
            copied.mkdir(exist_ok=True)
        elif path.name not in (wire.CODE_LIST, CACHES):
            copied.unlink(missing_ok=True)
            shutil.copyfile(path, copied)
            copied.chmod(0o755)  # the code is protected, what is worked with is not
    return {"target": str(target)}


def main(verb: str) -> int:
    """Run one verb; its exit code."""
    streams = {wire.RUN: run, wire.FOLLOW: follow, wire.SERVE: serve, wire.HOLD: hold, wire.ENTER: enter}
    replies = {wire.STOP: stop, wire.CLEAN: clean, wire.PROBE: probe, wire.CONNECT: connect, wire.COPY: copy_code}
    try:
        request = json.loads(read_request())
        if verb in streams:
            streams[verb](request)
        else:
            send(replies[verb](request))
    except BrokenPipeError:
        # The harness is gone; the lease decides about the ranks.
        leave()
    except SudoRefusedError as error:
        send({"frame": wire.ERROR_FRAME, "error": str(error), "sudo": False})
        return 1
    except (OSError, RefusedError, subprocess.TimeoutExpired) as error:
        send({"frame": wire.ERROR_FRAME, "error": str(error)})
        return 1
    except Exception as error:  # what it met on this node is odder than was foreseen
        send({"frame": wire.ERROR_FRAME, "error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


def leave() -> NoReturn:
    """End at once: Python would try to flush the closed pipe once more and complain."""
    os._exit(0)
