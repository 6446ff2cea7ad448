"""Run one of the system's tools, with a time limit, and say plainly what failed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from harness.errors import ClusterError

DEFAULT_LIMIT_SECONDS = 30.0
_SHOWN_LINES = 8


def tool_environment() -> dict[str, str]:
    """This process's environment, with the directories of the system's tools on the path and messages in English."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return os.environ | {"PATH": path, "LC_ALL": "C.UTF-8"}


def run(arguments: Sequence[str], *, limit: float = DEFAULT_LIMIT_SECONDS, stdin: str = "", remedy: str = "") -> str:
    """Run `arguments` with `stdin` and return what it wrote to stdout.

    Raises ClusterError, with the end of what the command said and `remedy`, when it is missing, fails, or takes longer
    than `limit` seconds (it is then killed).
    """
    shown = " ".join(arguments)
    try:
        done = subprocess.run(
            arguments,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=limit,
            check=False,
            env=tool_environment(),
        )
    except FileNotFoundError as error:
        raise ClusterError(f"command not found: {arguments[0]}", remedy) from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{shown}` did not end within {limit:.0f} s", remedy) from error
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-_SHOWN_LINES:])
        raise ClusterError(f"`{shown}` failed ({done.returncode}): {said}", remedy)
    return done.stdout
