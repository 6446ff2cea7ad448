"""Small files that others read meanwhile, and those of the kernel."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Json = dict[str, Any]

# Of a rank's directory, and of the directory of a trial's ranks on a node.
OUTPUT = "output"
LEASE = "lease"


def write_json(path: Path, value: Json, mode: int = 0o644) -> None:
    """Write a file so that a reader sees all of it or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file)
    temporary.replace(path)


def read_json(path: Path) -> Json | None:
    """A JSON object, or None where the file is absent or torn."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def read_text(path: str) -> str | None:
    """A file of /proc or /sys, or None where this kernel has none."""
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None


def matching(directory: Path, pattern: str) -> list[Path]:
    """The paths below a directory that match a pattern.

    Unlike `Path.glob` it does not fail where a directory goes while it is listed, as those of processes and trials do.
    """
    return [directory / name for name in glob.glob(pattern, root_dir=directory)]  # noqa: PTH207 - see above


def file_bytes(paths: Iterable[Path]) -> int:
    """The bytes of files together; those that are gone count nothing."""
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def remove(directory: Path) -> int:
    """Remove a directory and all that is in it; the bytes of its files.

    Nodes of one machine share their directories, and may be removing the same: what is gone meanwhile is no fault.
    """
    freed = file_bytes(Path(base, name) for base, _, names in os.walk(directory) for name in names)
    while directory.exists():
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(directory)
    return freed
