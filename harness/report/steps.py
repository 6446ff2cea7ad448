"""Where a step's time goes: the phases that workers told, per step. Pure."""

from __future__ import annotations

import pandas as pd

from harness.events import PHASE_KEYS, PHASES
from harness.report.epoch_rows import last_rows

PARTS = (*PHASES, "other")
"""`other` is what the phases leave of the training."""

_SMALL = 0.05


def step_table(epochs: pd.DataFrame, numbers: pd.DataFrame) -> pd.DataFrame:
    """One row a (series, nodes): seconds of the mean worker's step by PARTS, medians over the trials.

    `epochs` has the columns of epochs.csv, `numbers` one row a measured trial. A part that nobody told is missing. Trials of
    programs that told no more than their waiting have no row.
    """
    rows = last_rows(epochs)
    sums = rows.groupby("trial")[["steps", "train_seconds", *PHASE_KEYS]].sum(min_count=1)
    steps = sums["steps"].where(sums["steps"] > 0)
    table = sums[list(PHASE_KEYS)].div(steps, axis="index").set_axis(list(PHASES), axis="columns")
    table["other"] = (sums["train_seconds"] / steps - table.sum(axis="columns")).clip(lower=0.0)
    told = table[table[["forward", "backward"]].notna().any(axis="columns")]
    placed = numbers[["trial", "series", "nodes"]].merge(told, left_on="trial", right_index=True)
    return placed.groupby(["series", "nodes"], as_index=False)[list(PARTS)].median()


def main_parts(row: pd.Series) -> list[tuple[str, float]]:
    """A row's parts of at least a twentieth of the step, the longest first."""
    parts = row[list(PARTS)].dropna().astype(float)
    return sorted(((str(name), value) for name, value in parts.items() if value >= _SMALL * parts.sum()), key=_longest)


def _longest(part: tuple[str, float]) -> float:
    return -part[1]
