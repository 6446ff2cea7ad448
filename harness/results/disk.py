"""How files of a run directory are written: whole or not at all, or row by row, and a full disk is named."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from harness.errors import BadInputError, HarnessError
from harness.results.rows import Row
from harness.system.files import whole

_LONGEST_CELL = 10_000
_RESUME = "run the same sweep with --resume"
_PERMISSION = f"make the results directory writable for you, then {_RESUME}: finished trials are safe"
_REMOVED = "it was removed while the harness was writing to it"


class ResultsError(HarnessError):
    """The run directory cannot be written; what was written before is safe."""

    exit_code = 1


class Table:
    """A CSV with fixed columns, appended row by row."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path = path
        self._columns = columns

    def read(self) -> list[Row]:
        """All whole rows; none where the file is absent. Raises BadInputError where its heading is another."""
        text = _whole_lines(self._path)
        heading = text.partition("\n")[0]
        if text and f"{heading}\n" != self._heading():
            raise BadInputError(
                f"{self._path} begins with {heading[:80]!r}, which is not the heading that the harness wrote",
                "put the file back as it was, or start a new run",
            )
        return _rows(text)

    def rewrite(self, rows: Iterable[Row]) -> None:
        """Replace the file at once."""
        buffer = io.StringIO()
        buffer.write(self._heading())
        for row in rows:
            buffer.write(self._format(row))
        write_atomically(self._path, buffer.getvalue().encode())

    def append(self, row: Row) -> None:
        """Add a row with one write. Raises ResultsError, also where somebody removed the file."""
        append(self._path, self._format(row).encode(), create=False)

    def sync(self) -> None:
        """Wait until what was appended is on the disk."""
        with guard(self._path), self._path.open("rb") as file:
            os.fsync(file.fileno())

    def _heading(self) -> str:
        return self._format(dict(zip(self._columns, self._columns, strict=True)))

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
    return _rows(_whole_lines(path))


def _whole_lines(path: Path) -> str:
    """A file's text up to its last end of line; empty where it is absent. Raises ResultsError where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror or error}", _PERMISSION) from error
    return text[: text.rfind("\n") + 1]


def _rows(text: str) -> list[Row]:
    rows = csv.DictReader(io.StringIO(text))
    return [cast(Row, row) for row in rows if None not in row and None not in row.values()]


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file at once. Raises ResultsError."""
    write_atomically(path, json.dumps(value, indent=2, default=str).encode() + b"\n")


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, also after a crash, sees the old content or the new. Raises ResultsError."""
    with guard(path):
        with whole(path) as temporary:
            temporary.write_bytes(data)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk: a file that took another's name has it after a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append(path: Path, data: bytes, *, create: bool = True) -> None:
    """Add to a file with one write, all of it or nothing. Raises ResultsError, also for an absent one with `create` false."""
    with guard(path):
        if not create and not path.exists():
            raise FileNotFoundError(errno.ENOENT, _REMOVED)
        with path.open("ab", buffering=0) as file:
            written = file.write(data)
            if written != len(data):
                file.truncate(file.tell() - (written or 0))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class guard:  # noqa: N801 - reads as a statement
    """Turns what the file system says into a ResultsError that names the path, and what can be done about it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise ResultsError(f"cannot write {self._path}: {reason}", remedy_of(error)) from error


def remedy_of(error: OSError) -> str:
    """What helps where a run directory cannot be written."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return _PERMISSION
    if error.errno == errno.ENOENT:
        return f"{_RESUME}: trials whose rows are gone are run again, the others are safe"
    return f"free some space, then {_RESUME}: finished trials are safe"
