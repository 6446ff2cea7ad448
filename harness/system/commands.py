"""Run one of the system's tools, with a time limit, and say plainly what failed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from harness.errors import HarnessError
from harness.system.locks import held

_SHOWN_LINES = 12
_SHOWN_CHARACTERS = 120


def tool_environment() -> dict[str, str]:
    """This process's environment, with the directories of the system's tools on the path and messages in English."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/usr/local/sbin"])
    return os.environ | {"PATH": path, "LC_ALL": "C.UTF-8"}


def find(tool: str) -> str | None:
    """Path of `tool`, also where only root's PATH has it; None where it is not installed."""
    return shutil.which(tool, path=tool_environment()["PATH"])


def run(
    arguments: Sequence[str | Path],
    *,
    limit_seconds: float,
    error: type[HarnessError],
    remedy: str = "",
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> bytes:
    """Run `arguments` with `stdin` and return what the command wrote to stdout; with `log`, all output goes there instead.

    A lock that this process holds stays locked until the command has ended, also where this process is killed before.
    Raises `error`, with the end of what the command said and `remedy`, when it is missing, fails, or takes longer than
    `limit_seconds` (it is then killed).
    """
    command = [find(str(arguments[0])) or str(arguments[0]), *map(str, arguments[1:])]
    shown = _shown(arguments)
    with ExitStack() as stack:
        sink = stack.enter_context(log.open("wb")) if log else None
        try:
            done = subprocess.run(
                command,
                input=stdin,
                stdout=sink or subprocess.PIPE,
                stderr=subprocess.STDOUT if sink else subprocess.PIPE,
                env={**tool_environment(), **(environment or {})},
                timeout=limit_seconds,
                check=False,
                pass_fds=held(),
            )
        except FileNotFoundError as missing:
            raise error(f"command not found: {arguments[0]}", remedy) from missing
        except subprocess.TimeoutExpired as late:
            raise error(f"`{shown}` did not end within {limit_seconds:.0f} s", remedy) from late
    if done.returncode != 0:
        said = (log.read_bytes() if log else done.stderr or done.stdout or b"").decode(errors="replace")
        last = "\n".join(said.strip().splitlines()[-_SHOWN_LINES:])
        raise error(f"`{shown}` failed with exit status {done.returncode}: {last}", remedy)
    return done.stdout or b""


def _shown(arguments: Sequence[str | Path]) -> str:
    line = " ".join(map(str, arguments))
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}..."
