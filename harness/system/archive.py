"""Tar archives whose bytes depend on names and contents alone."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def tar_bytes(files: Mapping[str, bytes], mode: int = 0o644) -> bytes:
    """An archive of files by their paths, each with permission bits `mode`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            entry.mode = mode
            archive.addfile(entry, io.BytesIO(files[name]))
    return buffer.getvalue()
