"""The imitated processor of a virtual node: what its ranks are started with, and how well they were held to their speed.

The harness makes the library and writes the node's file (`wire.CPU_FILE`); here it is only handed on to ranks.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from contract import wire

# The counters that the library keeps in a file for each process: a mark, then nanoseconds computed, behind and slept.
_COUNTERS = struct.Struct("=8s3q")
_MARK = b"cpu-1\n"
_FILES = "cpu-*"
_NANO = 1e-9
_NONE = "none"


def described(path: Path = Path(wire.CPU_FILE)) -> dict[str, Any] | None:
    """How this node's processor is imitated; None on a real node."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def environment(
    directory: Path, given: dict[str, str], node: dict[str, Any] | None, says_ready: bool = False
) -> dict[str, str]:
    """The variables that a rank is started with on such a node; `given` are its own, `directory` takes the counters.

    A rank that `says_ready` starts at the machine's speed: its libraries are imported before it says so.
    """
    if not node or not node.get("library"):
        return {}
    libraries = [str(node["library"]), given.get("LD_PRELOAD", "")]
    return {
        "LD_PRELOAD": ":".join(filter(None, libraries)),
        wire.CPU_FACTOR_VARIABLE: str(node["factor"]),
        wire.CPU_REPORT_VARIABLE: str(directory),
        **({wire.CPU_FROM_VARIABLE: f'"{wire.READY}"'} if says_ready else {}),
    }


def counted(directory: Path, node: dict[str, Any] | None) -> dict[str, str | float | None]:
    """How a rank was held to its node's speed, and by how many seconds it fell behind; empty on a real node.

    A rank of a stretched node that the library did not see (it is linked statically) ran as fast as the machine does: its
    model is `none`.
    """
    if not node:
        return {}
    model, behind = str(node.get("model", _NONE)), None
    if node.get("library"):
        counters = [found for path in directory.glob(_FILES) if (found := _read(path)) is not None]
        behind = sum(late for late, _ in counters) * _NANO
        if not any(used for _, used in counters):
            model, behind = _NONE, None
    return {wire.CPU_MODEL: model, wire.CPU_BEHIND: behind}


def _read(path: Path) -> tuple[int, int] | None:
    """Nanoseconds behind and computed of one process."""
    try:
        mark, computed, behind, _ = _COUNTERS.unpack(path.read_bytes())
    except (OSError, struct.error):
        return None
    return (behind, computed) if mark.startswith(_MARK) else None
