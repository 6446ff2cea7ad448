"""Read what a sweep left on disk: tolerant of a torn last line, of missing files and of nothing at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import BadInputError
from harness.store import RunPaths

# Never numbers, whatever they look like: a node may be called 7, and the firmware prints its bits in hexadecimal.
_TEXTS = frozenset({"trial", "status", "variant", "node", "time", "started_at", "throttled", "failure"})


@dataclass(frozen=True)
class RunData:
    """A run's tables and manifest, and notes on what could not be read."""

    trials: pd.DataFrame
    epochs: pd.DataFrame
    telemetry: pd.DataFrame
    manifest: Mapping[str, Any]
    notes: tuple[str, ...]


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
    manifest, manifest_notes = _read_manifest(paths.manifest)
    return RunData(trials, epochs, telemetry, manifest, (*trial_notes, *epoch_notes, *telemetry_notes, *manifest_notes))


def read_table(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A CSV file as a frame, numbers as numbers and empty cells as missing; and notes on lines that were left out.

    Only empty cells are missing: "none" is a value (a store's name). A file that is not there is an empty frame.
    """
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return pd.DataFrame(), ()
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror}") from None
    whole, _, torn = text.rpartition("\n")
    # A NUL is what a file system leaves of a write that a crash cut off.
    rows = [row for row in csv.reader(io.StringIO(whole.replace("\0", ""), newline="")) if row]
    notes = [f"The last line of {path.name} was cut off and is left out."] if torn else []
    if not rows:
        return pd.DataFrame(), tuple(notes)
    header, *body = rows
    good = [row for row in body if len(row) == len(header)]
    if len(good) < len(body):
        notes.append(f"{len(body) - len(good)} damaged line(s) of {path.name} are left out.")
    frame = pd.DataFrame(good, columns=pd.Index(header), dtype=object)
    return pd.DataFrame({name: _typed(frame[name]) for name in frame}), tuple(notes)


def _typed(column: pd.Series) -> pd.Series:
    present = column.where(column != "", None)
    if column.name in _TEXTS:
        return present
    try:
        return pd.to_numeric(present)
    except (ValueError, TypeError):
        return present


def _read_manifest(path: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, (f"There is no {path.name}: how the run was made is not known.",)
    except (OSError, ValueError) as error:
        raise BadInputError(f"cannot read {path}: {error}", "restore it from the run's backup or remove it") from None
    if not isinstance(manifest, dict):
        raise BadInputError(f"{path} is not a manifest: a JSON object was expected")
    return manifest, ()
