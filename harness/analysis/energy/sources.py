"""Whose power is known in a run, and how: power.csv by what it is of. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.energy.integral import Samples, samples_of
from harness.analysis.rates import unix_seconds
from harness.energy.address import MOST_WATTS

METER = "meter"
TEXTS = ("time", "node", "part", "state", "source", "origin")
"""Columns of power.csv that are no numbers."""


@dataclass(frozen=True)
class Source:
    """What is known of the power of one node, or of something else.

    `samples` are a meter's, None without one; `asked` of them were asked for, and `silent` not answered. `fixed_watts` hold
    where no meter says it (NaN: not known); `fixed_source` says whether they were declared or are an estimate, `origin` by
    whom. `idle_watts` are drawn when nothing runs (NaN: not known).
    """

    name: str
    is_node: bool
    samples: Samples | None
    asked: int
    silent: int
    fixed_watts: float
    fixed_source: str
    origin: str
    idle_watts: float


def read_sources(power: pd.DataFrame, nodes: frozenset[str]) -> Mapping[str, Source]:
    """Everything that a run's power.csv is of, by name.

    Args:
        power: frame with the columns of power.csv, `watts` as float64 (units W), all else as text. Rows that do not say their
            source are a meter's.
        nodes: names that are nodes where a row does not say it.
    """
    possible = power.assign(watts=power["watts"].where(power["watts"].between(0, MOST_WATTS)))
    return {str(name): _source(str(name), rows, nodes) for name, rows in possible.groupby("node", sort=False)}


def _source(name: str, rows: pd.DataFrame, nodes: frozenset[str]) -> Source:
    measured = rows[rows["source"].isin((METER, ""))]
    fixed = rows[(~rows["source"].isin((METER, ""))) & (rows["state"] != "idle")]
    part = next((each for each in rows["part"] if each), "node" if name in nodes else "other")
    watts = measured["watts"].to_numpy(float)
    return Source(
        name=name,
        is_node=part == "node",
        samples=samples_of(unix_seconds(measured).to_numpy(float), watts) if len(measured) else None,
        asked=len(measured),
        silent=int(np.isnan(watts).sum()),
        fixed_watts=float(fixed["watts"].iloc[-1]) if len(fixed) else math.nan,
        fixed_source=str(fixed["source"].iloc[-1]) if len(fixed) else "",
        origin=str(fixed["origin"].iloc[-1]) if len(fixed) else "",
        idle_watts=_idle_watts(rows, measured),
    )


def _idle_watts(rows: pd.DataFrame, measured: pd.DataFrame) -> float:
    """What was declared of idle time, or else the median of what was measured then."""
    said = rows[(rows["state"] == "idle") & ~rows.index.isin(measured.index)]["watts"].dropna()
    if len(said):
        return float(said.iloc[-1])
    idle = measured[measured["state"] == "idle"]["watts"].dropna()
    return float(idle.median()) if len(idle) else math.nan
