"""From a run's tables to the points that the cost model is fitted to. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.analysis import Analysis
from harness.analysis.epochs import last_rows
from harness.analysis.rates import steady_step_seconds
from harness.contract.columns import count_column
from harness.predict.model import Point


@dataclass(frozen=True)
class Measured:
    """The points of one curve; curves that differ only in their batch size are one, for they share their costs."""

    label: str
    control: bool
    points: tuple[Point, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Cluster sizes measured, ascending."""
        return tuple(sorted({point.nodes for point in self.points}))


def measured_series(analysis: Analysis, trials: pd.DataFrame, epochs: pd.DataFrame) -> tuple[Measured, ...]:
    """The series of a run that have a time per step, with their points.

    Trials that failed or are suspect are left out, as is what a shared loopback interface counted.

    Args:
        analysis: of the same run.
        trials: frame with the columns of trials.csv, dtypes as read_table gives them, units of docs/reference/columns.md.
        epochs: frame with the columns of epochs.csv, in the same way (dtypes, units).
    """
    program = analysis.facts.program
    rows = analysis.trials[~analysis.trials["suspect"]].dropna(subset=["step_seconds", "worker_batch"])
    rows = rows[rows["step_seconds"] > 0].set_index("trial")
    steady = steady_step_seconds(rows)
    counted = sharing_ranks(trials, program.sharing).reindex(rows.index)
    shared = analysis.facts.kind == "local"
    # One worker alone waits for the server on its own node; under a quota who waits computes faster afterwards.
    untold = (counted > 0) | (analysis.facts.kind == "virtual" and set(analysis.cpu_models) != {"stretched"})
    rows = rows.assign(
        busiest_bytes=pd.Series(dtype=float) if shared else busiest_bytes(epochs),
        shards=counted.where(counted > 0, rows["nodes"]),  # a store without servers has a share on every node
        own_seconds=rows["compute_step_seconds"].mask(untold),
        step_seconds=steady.where(steady > 0, rows["step_seconds"]),
    )
    grouped: dict[tuple[str, ...], list[int]] = {}
    for one in analysis.series:
        grouped.setdefault(_without(program.batch, one.values, analysis.parameters), []).append(one.index)
    found = []
    for members in grouped.values():
        there = rows[rows["series"].isin(members)]
        if not there.empty:
            first = analysis.series[members[0]]
            label = first.label if len(members) == 1 else f"{first.label} and other batch sizes"
            found.append(Measured(label, first.control, _points(there)))
    return tuple(found)


def busiest_bytes(epochs: pd.DataFrame) -> pd.Series:
    """By trial: bytes a step that the busiest worker's node sent, or received where that is more.

    Args:
        epochs: frame with the columns of epochs.csv, numbers as float64 (bytes, counts).

    Returns:
        Series of float64 by trial (bytes); empty where bytes were not counted.
    """
    wanted = ("trial", "rank", "epoch", "steps", "bytes_sent", "bytes_received")
    if any(name not in epochs for name in wanted):
        return pd.Series(dtype=float)
    rows = last_rows(epochs).dropna(subset=list(wanted))
    ranks = rows.groupby(["trial", "rank"])[["steps", "bytes_sent", "bytes_received"]].sum()
    most = ranks[["bytes_sent", "bytes_received"]].max(axis="columns") / ranks["steps"].where(ranks["steps"] > 0)
    return most.groupby("trial").max()


def sharing_ranks(trials: pd.DataFrame, roles: Sequence[str]) -> pd.Series:
    """By trial: how many ranks hold a share of the parameters, beside the workers.

    Args:
        trials: frame with the columns of trials.csv, counts as int64, float64 or text (no unit).
        roles: the roles of such ranks, `Program.sharing`.

    Returns:
        Series of float64 by trial (count), 0 where that is not known.
    """
    rows = trials.drop_duplicates("trial", keep="last").set_index("trial")
    counts = [
        pd.to_numeric(rows[name], errors="coerce").fillna(0.0) for name in map(count_column, roles) if name in rows
    ]
    return sum(counts, start=pd.Series(0.0, index=rows.index))


def _points(rows: pd.DataFrame) -> tuple[Point, ...]:
    batch = rows["worker_batch"].round()
    return tuple(
        Point(
            nodes=int(there["nodes"].iloc[0]),
            batch=float(there["worker_batch"].median()),
            step_seconds=float(there["step_seconds"].median()),
            own_seconds=_positive(there["own_seconds"]),
            busiest_bytes=_positive(there["busiest_bytes"]),
            shards=int(there["shards"].median()),
            trials=len(there),
        )
        for _, there in rows.groupby([rows["nodes"], batch])
    )


def _positive(column: pd.Series) -> float | None:
    value = float(column.astype(float).median()) if column.notna().any() else math.nan
    return value if np.isfinite(value) and value > 0 else None


def _without(batch: str | None, values: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    named: Mapping[str, str] = dict(zip(names, values, strict=True))
    return tuple(value for name, value in named.items() if name != batch)
