"""One at a time: locks on files, with a limit on the wait."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HarnessError

_POLL_SECONDS = 0.1
_held: set[int] = set()


def held() -> tuple[int, ...]:
    """Descriptors of the locks that this process holds. A child that inherits them holds the locks too, until it ends."""
    return tuple(_held)


@contextmanager
def exclusive(file: Path, *, limit_seconds: float, doing: str, error: type[HarnessError]) -> Iterator[None]:
    """Hold the lock on `file` (made where missing).

    It is free again when this process, and whatever `commands.run` started under the lock, has ended, however it ends.

    Raises `error` after `limit_seconds` of waiting; `doing` says what the holder does.
    """
    deadline = time.monotonic() + limit_seconds
    descriptor = _open(file, error)
    try:
        while not _try_lock(descriptor, file):
            if time.monotonic() > deadline:
                raise error(f"{file} is locked by another run, which {doing}", "wait for it, or end it, then try again")
            time.sleep(_POLL_SECONDS)
            os.close(descriptor)
            descriptor = _open(file, error)
        _held.add(descriptor)
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


def _open(file: Path, error: type[HarnessError]) -> int:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as denied:
        raise error(f"{file} cannot be opened", "run it as root") from denied


def _try_lock(descriptor: int, file: Path) -> bool:
    """Lock `descriptor`, if it is still `file`: the holder before may have removed it as its last act."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False
