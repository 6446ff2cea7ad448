"""Which rows of a run directory may stay: those of finished trials that are whole, and those of a checkpoint. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.launch.checkpoints import Saved
from harness.results.rows import Row


def rows_of(trial: str, rows: Sequence[Row]) -> list[Row]:
    """The rows of one trial, in their order."""
    return [row for row in rows if row["trial"] == trial]


def kept_rows(rows: Sequence[Row], name: str, trials: Mapping[str, Saved | None]) -> list[Row]:
    """The rows of table `name` without those of `trials` that belong to no checkpoint, in their order."""
    kept = [row for row in rows if row["trial"] not in trials]
    for trial, saved in trials.items():
        kept += checkpoint_rows(rows_of(trial, rows), name, saved) if saved and name != "trials" else []
    return kept


def checkpoint_rows(rows: Sequence[Row], name: str, saved: Saved) -> list[Row]:
    """The rows of one trial in table `name` that belong to its checkpoint."""
    if name == "epochs":
        return [row for row in rows if float(str(row["epoch"])) <= saved.checkpoint.epoch]
    return list(rows[: saved.rows.get(name, 0)])


def is_whole(record: Mapping[str, Any], trial: str, counts: Mapping[str, Mapping[Any, int]]) -> bool:
    """Whether the tables hold every row that a finished trial wrote to them; `counts` are rows by table and trial."""
    return all(counts[name].get(trial, 0) == count for name, count in record.get("rows", {}).items())


def oddity(record: object, trial: str, tables: Sequence[str]) -> str:
    """What is wrong with the content of a trial's record, in words; empty where it is one that the harness wrote."""
    if not isinstance(record, dict):
        return "is no JSON object"
    row, rows = record.get("row"), record.get("rows", {})
    if not isinstance(row, dict):
        return "has no row of trials.csv"
    if row.get("trial") != trial:
        return f"is of trial {str(row.get('trial'))[:80]!r}"
    for key in ("status", "started_at"):
        if not isinstance(row.get(key), str) or not row[key]:
            return f"has no {key}"
    if not isinstance(rows, dict) or not all(
        name in tables and isinstance(count, int) and not isinstance(count, bool) for name, count in rows.items()
    ):
        return "does not say how many rows of which table are the trial's"
    return ""
