"""Reads what is added to files, and no more: a file is read once, and again only where it was replaced or cut."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from harness.results.rows import Row

_PIECE = 1 << 22
_MARK = 64


class Tail:
    """The whole lines of a file, each given once.

    Rows that no longer count are dropped by writing the file anew: what lay before the offset is then another, or gone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._mark = b""
        """What lies right before the offset."""
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> Iterator[list[str] | None]:
        """The new lines in pieces; None where all that was given before counts no more. Raises OSError, but not for no file."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            if self._seen is not None:
                self._begin()
                yield None
            return
        seen = (status.st_ino, status.st_size, status.st_mtime_ns)
        if seen == self._seen:
            return
        with self.path.open("rb") as file:
            if not self._is_same(file.fileno()):
                self._begin()
                yield None
            self._seen = seen
            file.seek(self._offset)
            while piece := file.read(_PIECE):
                whole = piece[: piece.rfind(b"\n") + 1] or (piece if len(piece) == _PIECE else b"")
                if not whole:
                    break
                self._offset += len(whole)
                self._mark = (self._mark + whole)[-_MARK:]
                file.seek(self._offset)
                yield whole.decode("utf-8", errors="replace").removesuffix("\n").split("\n")

    def _begin(self) -> None:
        self._offset, self._mark, self._seen = 0, b"", None

    def _is_same(self, descriptor: int) -> bool:
        return os.pread(descriptor, len(self._mark), self._offset - len(self._mark)) == self._mark


class Rows:
    """The rows of a CSV file, each given once, every cell as its text."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)
        self._heading: list[str] = []

    def read(self) -> Iterator[Row | None]:
        """The new rows; None where all that were given before count no more. Raises OSError; damaged lines are left out."""
        for lines in self._tail.read():
            if lines is None:
                self._heading = []
                yield None
                continue
            for line in lines:
                with suppress(csv.Error, StopIteration):
                    cells = next(csv.reader([line]))
                    if not self._heading:
                        self._heading = cells
                    elif len(cells) == len(self._heading):
                        yield dict(zip(self._heading, cells, strict=True))


class Ends:
    """The last lines of some growing files; only a file's end is ever read."""

    def __init__(self, lines: int, characters: int) -> None:
        self._lines, self._characters = lines, characters
        self._known: dict[Path, tuple[tuple[int, int, int], list[str]]] = {}

    def of(self, path: Path) -> list[str]:
        """The last lines of a file, each cut to so many characters. Raises OSError."""
        status = path.stat()
        seen = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._known.get(path)
        if known is None or known[0] != seen:
            known = self._known[path] = (seen, self._read(path, status.st_size))
        return known[1]

    def keep(self, paths: set[Path]) -> None:
        """Forget all other files."""
        self._known = {path: known for path, known in self._known.items() if path in paths}

    def _read(self, path: Path, size: int) -> list[str]:
        begin = max(size - self._lines * self._characters, 0)
        with path.open("rb") as file:
            file.seek(begin)
            data = file.read(self._lines * self._characters)
        lines = data.decode("utf-8", errors="replace").removesuffix("\n").split("\n")
        if begin and len(lines) > 1:
            del lines[0]  # its beginning was not read
        # Of what a progress bar has written over itself, the last state.
        shown = [line.rstrip("\r").rpartition("\r")[2] for line in lines[-self._lines :]]
        return [line if len(line) <= self._characters else f"{line[: self._characters]}..." for line in shown]
