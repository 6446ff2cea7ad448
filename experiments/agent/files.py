"""Small files that others read meanwhile, and those of the kernel."""

from __future__ import annotations

import json
import os
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
