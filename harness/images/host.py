"""What images need of the controller: tools, locks, room on the disk, and copies that share blocks."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from harness.errors import BadInputError, ImageError
from harness.system import commands, locks
from harness.system.packages import require

FICLONE = 0x40049409  # _IOW(0x94, 9, int): share the blocks of one file with another (btrfs, xfs, overlay on them)
CHUNK_BYTES = 4 << 20
MAKE_IMAGES = "make it first: `harness image node`, or the playbook image.yml for a whole inventory"


def run(
    arguments: Sequence[str | Path],
    *,
    limit_seconds: float,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> bytes:
    """Run a tool and return what it wrote to stdout; with `log`, all output goes there instead.

    Raises BadInputError, naming its package, where the tool is not installed, and ImageError, with its last lines, when it
    fails or exceeds the limit.
    """
    if "/" not in str(arguments[0]):
        require(str(arguments[0]))
    return commands.run(
        arguments,
        limit_seconds=limit_seconds,
        error=ImageError,
        remedy=f"read {log}" if log else "",
        stdin=stdin,
        environment=environment,
        log=log,
    )


def lock(path: Path, limit_seconds: float = 3600) -> AbstractContextManager[None]:
    """Hold an exclusive lock named after `path`, waiting for another holder at most `limit_seconds`; else ImageError."""
    file = path.with_name(f".{path.name}.lock")
    return locks.exclusive(file, limit_seconds=limit_seconds, doing=f"makes {path.name}", error=ImageError)


def require_space(directory: Path, needed_bytes: int, what: str) -> None:
    """Raise BadInputError when `directory`'s file system has less than `needed_bytes` free."""
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if free < needed_bytes:
        raise BadInputError(
            f"{directory} has {free >> 20} MiB free, {what} needs {needed_bytes >> 20} MiB",
            "free some space, or name another directory",
        )


def clone(source: Path, target: Path) -> str:
    """Copy a file sharing its blocks where the file system can, else only the parts that hold data; tells which.

    Returns "reflink" or "sparse". `target` must not exist.
    """
    with source.open("rb") as read, target.open("xb") as write:
        try:
            fcntl.ioctl(write.fileno(), FICLONE, read.fileno())
        except OSError:
            _copy_data_extents(read.fileno(), write.fileno(), source.stat().st_size)
            return "sparse"
    return "reflink"


def _copy_data_extents(source: int, target: int, size: int) -> None:
    os.ftruncate(target, size)
    position = 0
    while position < size:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        position = os.lseek(source, start, os.SEEK_HOLE)
        offset = start
        while offset < position:
            offset += os.copy_file_range(source, target, min(position - offset, 1 << 30), offset, offset)
