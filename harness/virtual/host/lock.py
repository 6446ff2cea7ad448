"""One at a time on a virtual cluster."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from harness.errors import ClusterError
from harness.system import locks


def exclusive(file: Path, *, limit: float, doing: str) -> AbstractContextManager[None]:
    """Hold the lock on `file`; ClusterError after `limit` seconds of waiting. `doing` says what the holder does."""
    return locks.exclusive(file, limit_seconds=limit, doing=doing, error=ClusterError)
