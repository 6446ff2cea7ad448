"""Reads a CSV of the user's own while somebody else appends to it: the rows of one node that are new."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path

from harness.energy.address import read_watts
from harness.energy.devices import MeterError
from harness.results.rows import moment_of

COLUMNS = ("time", "node", "watts")
_AT_ONCE = 4 << 20
"""Bytes that one call reads; the next call goes on."""
_LONGEST_LINE = 10_000

Sample = tuple[float, float | None]
"""A moment (seconds since 1970) and watts, None where the meter did not say them."""


class OwnRows:
    """What is new of one node in a file, from a moment on (seconds since 1970)."""

    def __init__(self, path: Path, node: str, since: float) -> None:
        self._path = path
        self._node = node
        self._since = since
        self._offset = 0
        self._header: list[str] = []

    def new(self) -> list[Sample]:
        """The whole rows that came since the last call. Raises MeterError where there is no such file or it is no such CSV."""
        found: list[Sample] = []
        for line in self._new_lines():
            cells = next(csv.reader([line]), [])
            if not self._header:
                self._header = self._checked(cells)
            elif sample := self._sample(cells):
                found.append(sample)
        return found

    def _new_lines(self) -> list[str]:
        try:
            if not self._path.is_file():  # what is no plain file may make its reader wait
                raise MeterError("there is no such file")
            with self._path.open("rb") as file:
                size = file.seek(0, 2)
                if size < self._offset:  # written anew
                    self._offset, self._header = 0, []
                file.seek(self._offset)
                data = file.read(min(size - self._offset, _AT_ONCE))
        except OSError as error:
            raise MeterError(error.strerror or "it cannot be read") from None
        whole = data[: data.rfind(b"\n") + 1]
        if not whole and len(data) == _AT_ONCE:
            whole = data
        self._offset += len(whole)
        text = whole.decode("utf-8-sig", errors="replace")
        return [line for line in text.splitlines() if line and len(line) < _LONGEST_LINE]

    def _checked(self, cells: list[str]) -> list[str]:
        names = [cell.strip() for cell in cells]
        if missing := [name for name in COLUMNS if name not in names]:
            self._offset = 0
            raise MeterError(f"its first line does not name {', '.join(missing)}")
        return names

    def _sample(self, cells: list[str]) -> Sample | None:
        """The sample of a row, None where it is another node's, older, or says no time."""
        row = dict(zip(self._header, cells, strict=False))
        moment = moment_in(row.get("time", ""))
        if row.get("node", "").strip() != self._node or moment is None or moment < self._since:
            return None
        return moment, read_watts(row.get("watts", ""))


def moment_in(text: str) -> float | None:
    """Seconds since 1970 of an ISO 8601 time (UTC unless it says an offset), or of such a number; None for anything else."""
    with suppress(ValueError):
        seconds = float(text)
        return seconds if 0 < seconds < 1e11 else None
    return moment_of(text.strip())
