"""How files of a run directory are written: whole or not at all, or row by row, and a full disk is named."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from harness.errors import HarnessError
from harness.rows import Row

_LONGEST_CELL = 10_000


class StoreError(HarnessError):
    """The run directory cannot be written; what was written before is safe."""

    exit_code = 1


class Table:
    """A CSV with fixed columns, appended row by row."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._columns = columns

    def read(self) -> list[Row]:
        """All whole rows."""
        return read_rows(self._path)

    def rewrite(self, rows: Iterable[Row]) -> None:
        """Replace the file at once."""
        buffer = io.StringIO()
        buffer.write(self._format(dict(zip(self._columns, self._columns, strict=True))))
        for row in rows:
            buffer.write(self._format(row))
        write_atomically(self._path, buffer.getvalue().encode())

    def append(self, row: Row) -> None:
        """Add a row with one write."""
        append(self._path, self._format(row).encode())

    def sync(self) -> None:
        """Wait until what was appended is on the disk."""
        with guard(self._path), self._path.open("rb") as file:
            os.fsync(file.fileno())

    def _format(self, row: Mapping[str, Any]) -> str:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerow([_cell(row.get(column)) for column in self._columns])
        return buffer.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    # Words may be a program's own. A line break inside a cell would make a torn row look whole; half a surrogate pair
    # cannot be written, and a cell longer than csv's limit not be read again.
    return " ".join(value.split())[:_LONGEST_CELL].encode(errors="replace").decode()


def read_rows(path: Path) -> list[Row]:
    """All whole rows of a CSV, every cell as its text; a torn last one is none."""
    with suppress(FileNotFoundError):
        text = path.read_text(encoding="utf-8", errors="replace")
        whole = text[: text.rfind("\n") + 1]
        rows = csv.DictReader(io.StringIO(whole))
        return [cast(Row, row) for row in rows if None not in row and None not in row.values()]
    return []


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file at once. Raises StoreError."""
    write_atomically(path, json.dumps(value, indent=2, default=str).encode() + b"\n")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, also after a crash, sees the old content or the new. Raises StoreError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with guard(path):
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


def append(path: Path, data: bytes) -> None:
    """Add to a file with one write. Raises StoreError."""
    with guard(path), path.open("ab", buffering=0) as file:
        if file.write(data) != len(data):
            raise OSError(28, "No space left on device")


class guard:  # noqa: N801 - reads as a statement
    """Turns what the file system says into a StoreError that names the path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            raise StoreError(
                f"cannot write {self._path}: {error.strerror or error}",
                "free some space, then run the same sweep with --resume: finished trials are safe",
            ) from error
