"""Run one of the system's tools for a virtual cluster: its failure is a ClusterError."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import ClusterError
from harness.system import commands

DEFAULT_LIMIT_SECONDS = 30.0


def run(arguments: Sequence[str], *, limit: float = DEFAULT_LIMIT_SECONDS, stdin: str = "", remedy: str = "") -> str:
    """Run `arguments` with `stdin` and return what it wrote to stdout.

    Raises ClusterError, with the end of what the command said and `remedy`, when it is missing, fails, or takes longer
    than `limit` seconds (it is then killed).
    """
    said = commands.run(arguments, limit_seconds=limit, stdin=stdin.encode(), remedy=remedy, error=ClusterError)
    return said.decode(errors="replace")
