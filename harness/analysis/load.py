"""Read what a sweep left on disk: tolerant of a torn last line, of missing files and of nothing at all."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness.contract.columns import COLUMNS
from harness.contract.json_line import parse_json
from harness.errors import BadInputError
from harness.results.run_paths import RunPaths

_TEXT_UNITS = ("text", "bits", "UTC, ISO 8601")
# Never numbers, whatever they look like: a node may be called 7, and the firmware prints its bits in hexadecimal.
_TEXTS = frozenset(column.name for columns in COLUMNS.values() for column in columns if column.unit in _TEXT_UNITS)
# What every run has had since the first version; the first of each are in every row.
_ALWAYS = {
    "trials.csv": ("trial", "status", "nodes", "total_seconds"),
    "epochs.csv": ("trial", "rank", "epoch", "train_seconds"),
    "telemetry.csv": ("trial", "node", "time"),
    "power.csv": ("time", "node"),
}
_NEVER_EMPTY = 3
# No parameters have columns there.
_FIXED = ("epochs.csv", "telemetry.csv")
_NUMBERS = {
    file: frozenset(c.name for c in columns if c.unit not in (*_TEXT_UNITS, "")) for file, columns in COLUMNS.items()
}
_DECIMAL_COMMA = re.compile(r"^(-?\d+),(\d+(?:[eE][-+]?\d+)?)$")
# What rates.csv begins with.
_REMARKS = re.compile(r"\A(?:#[^\n]*\n)+")


@dataclass(frozen=True)
class RunData:
    """A run's tables and manifest, and notes on what could not be read.

    `power` and `ranks` are empty where nothing is known of power.
    """

    trials: pd.DataFrame
    epochs: pd.DataFrame
    telemetry: pd.DataFrame
    manifest: Mapping[str, Any]
    notes: tuple[str, ...]
    power: pd.DataFrame = field(default_factory=pd.DataFrame)
    ranks: pd.DataFrame = field(default_factory=pd.DataFrame)


def load_run(paths: RunPaths) -> RunData:
    """Read a run directory.

    Raises BadInputError where there is no such run, or its manifest cannot be read.
    """
    if not paths.trials.is_file() and not paths.manifest.is_file():
        raise BadInputError(
            f"{paths.root} holds no run: neither {paths.trials.name} nor {paths.manifest.name} is there",
            "name a run directory, results/<experiment>/<stamp> or results/<experiment>/latest",
        )
    trials, trial_notes = read_table(paths.trials)
    epochs, epoch_notes = read_table(paths.epochs)
    telemetry, telemetry_notes = read_table(paths.telemetry)
    power, power_notes = read_table(paths.power)
    ranks, rank_notes = (pd.DataFrame(), ()) if power.empty else read_table(paths.ranks)
    manifest, manifest_notes = _read_manifest(paths.manifest)
    notes = (*trial_notes, *epoch_notes, *telemetry_notes, *power_notes, *rank_notes, *manifest_notes)
    return RunData(trials, epochs, telemetry, manifest, notes, power, ranks)


def read_table(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A CSV file as a frame, and notes on lines that were left out.

    Only empty cells are missing: "none" is a value. A file that is not there is an empty frame. What spreadsheets make of a
    file is read too: a byte order mark, UTF-16, semicolons or tabulators between cells and decimal commas then, a column
    without name. Lines of remarks before the header are left out.

    Args:
        path: the file.

    Returns:
        Frame with the file's columns, units as they are there: int64 or float64 where every cell of a column is a number,
        else object (text, None where empty); and sentences.

    Raises:
        BadInputError: the file cannot be read, lacks a column that is always there, or has a cell that is no number where only
            numbers are; the message names file and column.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return pd.DataFrame(), ()
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror}") from None
    whole, _, torn = _decoded(path, data).rpartition("\n")
    # A NUL is what a file system leaves of a write that a crash cut off.
    whole = _REMARKS.sub("", whole.replace("\0", ""))
    separator = _separator(whole.partition("\n")[0])
    rows = [row for row in _rows(path, whole, separator) if any(row)]
    notes = [f"The last line of {path.name} was cut off and is left out."] if torn else []
    if not rows:
        return pd.DataFrame(), tuple(notes)
    header, *body = rows
    _check_header(path, header)
    good = [row for row in body if len(row) == len(header)]
    if len(good) < len(body):
        notes.append(f"{len(body) - len(good)} damaged line(s) of {path.name} are left out.")
    frame = pd.DataFrame(good, columns=pd.Index(header), dtype=object).drop(columns="", errors="ignore")
    if separator != ",":
        frame = frame.replace(_DECIMAL_COMMA, r"\1.\2", regex=True)
    _check_filled(path, frame)
    return pd.DataFrame({name: _typed(frame[name], path) for name in frame}), tuple(notes)


def _decoded(path: Path, data: bytes) -> str:
    """The text of a file; what is no text at all becomes replacement characters, where a crash may have left it."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, errors="replace").replace("\r\n", "\n")
    *lines, torn = data.split(b"\n")
    cells = lines[0].count(b",") if lines else 0
    for number, line in enumerate(lines, 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            # A damaged line has another number of cells. This one is whole, in another encoding.
            if line.count(b",") == cells and b"\0" not in line:
                raise _refused(path, f"line {number} is not UTF-8") from None
    return b"\n".join([*lines, torn]).decode("utf-8", errors="replace")


def _separator(heading: str) -> str:
    """What is between the cells: the comma that the harness writes, or what a spreadsheet put in its place."""
    return max(",;\t", key=heading.count) if heading else ","


def _rows(path: Path, text: str, separator: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise _refused(path, str(error)) from None


def _check_header(path: Path, header: list[str]) -> None:
    """Raise BadInputError for a table of a run without a column that is always there, with one twice, or with one renamed."""
    if missing := [name for name in _ALWAYS.get(path.name, ()) if name not in header]:
        raise _refused(path, f"it has no column {', '.join(missing)}, only {', '.join(header)[:200]}")
    named = [name for name in header if name]
    if doubled := {name for name in named if named.count(name) > 1}:
        raise _refused(path, f"it has a column {', '.join(sorted(doubled))} twice")
    if path.name not in _FIXED:
        return
    known = [column.name for column in COLUMNS[path.name]]
    unknown, absent = [name for name in named if name not in known], [name for name in known if name not in named]
    if unknown and absent:
        raise _refused(path, f"it has a column {unknown[0][:80]!r} that no run has, but no {', '.join(absent)[:200]}")


def _check_filled(path: Path, frame: pd.DataFrame) -> None:
    """Raise BadInputError for a row that does not say what it is of."""
    for name in _ALWAYS.get(path.name, ())[:_NEVER_EMPTY]:
        empty = [number for number, cell in enumerate(frame[name], 1) if cell.lower() in ("", "nan")]
        if empty:
            raise _refused(path, f"column {name} is empty in row {empty[0]}")


def _refused(path: Path, why: str) -> BadInputError:
    return BadInputError(
        f"{path}: {why}", "put the file back as the harness wrote it, in UTF-8 with commas between the cells"
    )


def _typed(column: pd.Series, path: Path) -> pd.Series:
    present = column.where(column != "", None)
    if column.name in _TEXTS:
        return present
    if column.name in _NUMBERS.get(path.name, ()):
        bad = next((cell for cell in present if cell is not None and not _is_finite(cell)), None)
        if bad is not None:
            raise _refused(path, f"column {column.name} has {bad[:80]!r}, which is no number")
    try:
        numbers = pd.to_numeric(present)
    except (ValueError, TypeError, OverflowError):
        return present
    return (
        present if numbers.dtype == object and present.notna().any() else numbers
    )  # whole numbers that no float holds


def _is_finite(cell: str) -> bool:
    """Whether it is a number, or as pandas writes one that is missing."""
    try:
        number = float(cell)
    except ValueError:
        return False
    return math.isfinite(number) or math.isnan(number)


def _read_manifest(path: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    try:
        manifest = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, (f"There is no {path.name}: how the run was made is not known.",)
    except (OSError, ValueError) as error:
        raise BadInputError(f"cannot read {path}: {error}", "restore it from the run's backup or remove it") from None
    if not isinstance(manifest, dict):
        raise BadInputError(f"{path} is not a manifest: a JSON object was expected")
    return manifest, ()
