"""What a node is told of its processor's speed: a file that its agent reads for every rank. Pure but for writing it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from harness.contract import wire
from harness.system.files import write_whole
from harness.virtual.cpu import library

STRETCHED, QUOTA = MODELS = ("stretched", "quota")
UNLIMITED = "none"
_PLACE = Path("usr/lib/harness")


def slowdown(fraction: float | None, dilation: float) -> float | None:
    """By what threads are stretched that get `fraction` of a core in time slowed down by `dilation`; None: not at all."""
    return None if fraction is None or fraction >= dilation else dilation / fraction


def described(model: str, fraction: float | None, dilation: float) -> dict[str, object]:
    """The content of a node's file: its model and, where threads are stretched, the factor and the library's path there."""
    factor = slowdown(fraction, dilation)
    if fraction is None:
        return {"model": UNLIMITED}
    if model == QUOTA:
        return {"model": QUOTA, "fraction": fraction}
    if factor is None:
        return {"model": UNLIMITED, "fraction": fraction}
    return {"model": STRETCHED, "fraction": fraction, "factor": factor, "library": f"/{_PLACE / library.place().name}"}


def tell(root: Path, content: dict[str, object]) -> bool:
    """Write the file, and the library where it is needed, into a node's root file system; whether anything changed."""
    if content["model"] == STRETCHED:
        target = root / _PLACE / library.place().name
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(library.ensure(), target)
            target.chmod(0o755)
    file = root / wire.CPU_FILE.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    changed = write_whole(file, (json.dumps(content, sort_keys=True) + "\n").encode())
    file.chmod(0o644)
    return changed


def told(root: Path) -> dict[str, object] | None:
    """What a node was told; None where nothing was."""
    try:
        content: dict[str, object] = json.loads((root / wire.CPU_FILE.lstrip("/")).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return content
