"""The library that makes a program's threads compute at one speed: built from `one_speed.c`, once, and cached."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from harness import paths
from harness.system.packages import require
from harness.virtual.host.command import run
from harness.virtual.host.lock import exclusive

SOURCE = Path(__file__).with_name("one_speed.c")
_BUILD_LIMIT_SECONDS = 120.0
_OPTIONS = ("-O2", "-shared", "-fPIC", "-Wall", "-Wextra")


def place() -> Path:
    """Where the library of today's source is, or will be, cached."""
    key = hashlib.sha256(SOURCE.read_bytes() + os.uname().machine.encode()).hexdigest()[:16]
    return paths.cache_directory() / "cpu" / f"one_speed-{key}.so"


def ensure() -> Path:
    """The library, built first where it is not cached. Raises BadInputError where there is no C compiler."""
    target = place()
    if target.is_file():
        return target
    require("cc")
    target.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(
        target.parent / "lock", limit=_BUILD_LIMIT_SECONDS, doing="builds the library for the nodes' processors"
    ):
        building = target.with_suffix(".building")
        run(
            ["cc", *_OPTIONS, "-o", str(building), str(SOURCE), "-ldl", "-lpthread"],
            limit=_BUILD_LIMIT_SECONDS,
            remedy="apt-get install gcc libc6-dev",
        )
        building.rename(target)
    return target
