"""The trials of a run as trackers of experiments keep them: settings, numbers and texts, and values by epoch. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.epochs import last_rows
from harness.analysis.rates import unix_seconds
from harness.contract import wire
from harness.contract.columns import AGGREGATED, Aggregation, Column, count_column, roles_in
from harness.contract.headers import OWN_UNIT, TRIALS
from harness.export.contents import Contents

Setting = bool | int | float | str

_EPOCHS = "epochs.csv"
_POINT = ("nodes", "repeat", "variant")
_KNOWN_OTHERWISE = ("trial", "status", "started_at")
_MEASURED = wire.EPOCH_KEYS[1:]
_OVER_WORKERS: Mapping[Aggregation, str] = {"sum": "sum", "slowest": "max", "best": "max"}
"""How one value of an epoch is formed of all workers', as trials.csv does it for all epochs; all others are means."""
_HOW = {column.name: _OVER_WORKERS.get(column.aggregation, "mean") for column in AGGREGATED}
_EXACT = 2**53


@dataclass(frozen=True)
class Point:
    """A value of one epoch: of the worker of this rank, or over all workers; `moment` is in s since 1970."""

    column: Column
    rank: int | None
    epoch: int
    value: float
    moment: float


@dataclass(frozen=True)
class Trial:
    """A row of trials.csv, and its rows of epochs.csv; `began` and `ended` are in s since 1970, on the controller's clock."""

    id: str
    status: str
    nodes: tuple[str, ...]
    began: float
    ended: float
    settings: Mapping[str, Setting]
    """What was asked: nodes, repeat, variant, the roles' ranks and the parameters."""
    numbers: tuple[tuple[Column, float], ...]
    texts: Mapping[str, str]
    points: tuple[Point, ...]


def trials_of(run: Contents) -> Iterator[Trial]:
    """The trials that have a result, in the order of trials.csv."""
    frame = run.tables[TRIALS].drop_duplicates("trial", keep="last")
    columns = run.columns(TRIALS)
    asked = {*_POINT, *map(count_column, roles_in(each.name for each in columns))}
    epochs = _by_trial(run.tables.get(_EPOCHS))
    ends = [_last_moments(run.tables.get(file)) for file in (_EPOCHS, "telemetry.csv")]
    nodes = _nodes(run)
    start = _moment(run.manifest.get("started_at"))
    for row in frame.to_dict("records"):
        name = str(row["trial"])
        cells = {each: cell for each in columns if (cell := _plain(row[each.name])) is not None}
        told = {each: cell for each, cell in cells.items() if each.name not in _KNOWN_OTHERWISE}
        settings = {each.name: cell for each, cell in told.items() if each.unit == OWN_UNIT or each.name in asked}
        rest = {each: cell for each, cell in told.items() if each.name not in settings}
        began = _first(_moment(row.get("started_at")), start, 0.0)
        ended = max([began, *(each[name] for each in ends if name in each)])
        yield Trial(
            id=name,
            status=str(row["status"]),
            nodes=nodes.get(name, ()),
            began=began,
            ended=ended,
            settings=settings,
            numbers=tuple((each, float(cell)) for each, cell in rest.items() if not isinstance(cell, str | bool)),
            texts={each.name: cell for each, cell in rest.items() if isinstance(cell, str)},
            points=tuple(points_of(epochs[name], run.columns(_EPOCHS), began)) if name in epochs else (),
        )


def points_of(rows: pd.DataFrame, columns: Iterable[Column], otherwise: float) -> Iterator[Point]:
    """The values of a trial by epoch: over all workers, and where there are several, of each; what is not known is left out.

    Args:
        rows: frame with the columns of epochs.csv, a row a worker and epoch of one trial; numbers as int64 or float64 in the
            units of docs/reference/columns.md, `time` as text.
        columns: the columns of that frame.
        otherwise: the moment of rows without a time, s since 1970.
    """
    rows = rows.assign(**{name: pd.to_numeric(rows[name], errors="coerce") for name in ("epoch", "rank")})
    told = last_rows(rows[(rows["epoch"] % 1 == 0) & (rows["epoch"].abs() < _EXACT)])
    moments = unix_seconds(told).fillna(otherwise)
    latest = moments.groupby(told["epoch"]).max()
    several = told["rank"].nunique() > 1
    for column in columns:
        if column.name not in _MEASURED:
            continue
        values = pd.to_numeric(told[column.name], errors="coerce").astype("float64").replace([np.inf, -np.inf], np.nan)
        over = getattr(values.dropna().groupby(told["epoch"]), _HOW.get(column.name, "mean"))()
        for epoch, value in over.items():
            if math.isfinite(value):
                yield Point(column, None, int(epoch), float(value), float(latest[epoch]))
        for rank, epoch, value, moment in zip(told["rank"], told["epoch"], values, moments, strict=True):
            if several and math.isfinite(value):
                yield Point(column, int(rank), int(epoch), float(value), float(moment))


def _by_trial(frame: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    return {} if frame is None else {str(name): rows for name, rows in frame.groupby("trial", sort=False)}


def _last_moments(frame: pd.DataFrame | None) -> dict[str, float]:
    """By trial when its last row was written, s since 1970."""
    if frame is None:
        return {}
    last = unix_seconds(frame).groupby(frame["trial"]).max().dropna()
    return {str(name): float(value) for name, value in last.items()}


def _nodes(run: Contents) -> dict[str, tuple[str, ...]]:
    """By trial the names of the nodes that took part."""
    found: dict[str, set[str]] = {}
    for frame in run.tables.values():
        if {"trial", "node"} <= set(frame.columns):
            for trial, node in frame[["trial", "node"]].dropna().drop_duplicates().itertuples(index=False):
                found.setdefault(str(trial), set()).add(str(node))
    return {trial: tuple(sorted(names)) for trial, names in found.items()}


def _moment(text: object) -> float | None:
    seconds = unix_seconds(pd.DataFrame({"time": [str(text)]}))[0]
    return None if math.isnan(seconds) else float(seconds)


def _first(*values: float | None) -> float:
    """The first that is known."""
    return next(value for value in values if value is not None)


def _plain(cell: Any) -> Setting | None:
    """A cell as truth value, number or text; None where it is empty, or no finite number."""
    if isinstance(cell, str):
        return {"True": True, "False": False}.get(cell, cell)
    if cell is None or not math.isfinite(cell):
        return None
    return int(cell) if float(cell).is_integer() and abs(cell) < _EXACT else float(cell)
