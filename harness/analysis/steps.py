"""Where a step's time goes: the phases that workers told, per step. Pure."""

from __future__ import annotations

import pandas as pd

from harness.analysis.epochs import last_rows
from harness.contract.wire import PHASE_KEYS, PHASES

PARTS = (*PHASES, "other")
"""`other` is what the phases leave of the training."""

_SMALL = 0.05
_BYTES_PER_PARAMETER = 4


def step_table(epochs: pd.DataFrame, numbers: pd.DataFrame) -> pd.DataFrame:
    """One row a (series, nodes): seconds of the mean worker's step by PARTS, medians over the trials.

    Trials of programs that told no more than their waiting have no row.

    Args:
        epochs: frame with the columns of epochs.csv, numbers as float64 (s).
        numbers: frame with columns `trial` (text), `series` and `nodes` (int64, count), a row a measured trial.

    Returns:
        Frame with columns `series`, `nodes` (int64) and PARTS (float64, s); a part that nobody told is NaN.
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
    """A row's parts of at least a twentieth of the step, the longest first.

    Args:
        row: a row of `step_table`, PARTS as float64 (s).

    Returns:
        Names and seconds.
    """
    parts = row[list(PARTS)].dropna().astype(float)
    return sorted(((str(name), value) for name, value in parts.items() if value >= _SMALL * parts.sum()), key=_longest)


def wire_bound_seconds(nodes: int, parameters: float, bits_per_second: float, *, shared: bool = False) -> float:
    """The least time that a node's link needs to exchange all parameters once: 2(n-1)/n of them, 4 bytes each.

    It holds for uncompressed values spread evenly over the nodes, both directions of the link used at once. One medium that is
    `shared` carries what all nodes send, twice each: to the access point, and from it.
    """
    own = 2 * (nodes - 1) / nodes * parameters * _BYTES_PER_PARAMETER * 8 / bits_per_second
    return own * nodes * 2 if shared else own


def _longest(part: tuple[str, float]) -> float:
    return -part[1]
