"""Parquet: a file a table, every column with its type, unit and meaning, and the manifest in each file's metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from harness import __version__
from harness.analysis.rates import moments_of
from harness.contract.columns import Column
from harness.contract.headers import OWN_UNIT
from harness.export.contents import Contents

_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = ("text", "bits")
_MOMENT = "UTC, ISO 8601"
_WHOLE = ("count", "bytes", "images")
"""Units of which there are no fractions, but in means."""
_CODES = ("exit_code",)
"""Whole too, without a unit."""
_LARGEST = 2**63 - 1

Cell = str | int | float | None
Way = tuple[Any, Callable[[Any], Any]]
"""A type, and what makes a cell one of its values; ValueError where it is none."""


def write(run: Contents, directory: Path, _: Path) -> None:
    """Write `TABLE.parquet` of every table into the directory."""
    about = {
        "harness.run": run.name,
        "harness.version": __version__,
        "harness.manifest": json.dumps(run.manifest),
        "harness.notes": json.dumps(run.notes),
    }
    for file, frame in run.tables.items():
        arrays = [_array(each, frame[each.name], run.parameters.get(each.name, {})) for each in run.columns(file)]
        fields = [
            pa.field(each.name, array.type, metadata=_about(each))
            for each, array in zip(run.columns(file), arrays, strict=True)
        ]
        schema = pa.schema(fields, metadata={"harness.table": file, **about})
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), directory / f"{Path(file).stem}.parquet")


def _about(column: Column) -> dict[str, str]:
    return {"unit": column.unit, "meaning": column.meaning, "over_workers": column.aggregation}


def _array(column: Column, values: pd.Series, parameter: Mapping[str, Any]) -> Any:
    """A column in the type that its unit or its parameter's type says; as text where a cell has no place in that type."""
    cells: list[Cell] = [None if pd.isna(cell) else cell for cell in values.tolist()]
    if column.unit == _MOMENT:
        moments = [None if pd.isna(each) else each.to_pydatetime() for each in moments_of(values)]
        if all(there is not None for there, cell in zip(moments, cells, strict=True) if cell is not None):
            return pa.array(moments, _TIME)
    elif column.unit == OWN_UNIT:
        return _parameter(str(parameter.get("type", "")), cells)
    elif column.unit in _WHOLE or column.name in _CODES:
        return _first_that_fits(cells, (pa.int64(), _integer), (pa.float64(), float))
    elif column.unit not in _TEXTS:
        return _first_that_fits(cells, (pa.float64(), float))
    return _texts(cells)


def _parameter(kind: str, cells: Sequence[Cell]) -> Any:
    """By the type that the program's description gives it; where there is none, by what the cells are."""
    integer: Way = (pa.int64(), _integer)
    number: Way = (pa.float64(), float)
    truth: Way = (pa.bool_(), _truth)
    ways: dict[str, tuple[Way, ...]] = {
        "int": (integer,),
        "float": (number,),
        "bool": (truth,),
        "text": (),
        "choice": (),
    }
    known = any(cell is not None for cell in cells)
    return _first_that_fits(cells, *ways.get(kind, (truth, integer, number) if known else ()))


def _first_that_fits(cells: Sequence[Cell], *ways: Way) -> Any:
    """The cells in the first type that all have a value in."""
    for kind, convert in ways:
        try:
            return pa.array([None if cell is None else convert(cell) for cell in cells], kind)
        except (ValueError, OverflowError):
            continue
    return _texts(cells)


def _integer(cell: str | float) -> int:
    """Raises ValueError where it is no whole number, or none of 64 bits."""
    if isinstance(cell, float) and not cell.is_integer():
        raise ValueError(cell)
    value = int(cell)
    if abs(value) > _LARGEST:
        raise ValueError(cell)
    return value


def _truth(cell: Cell) -> bool:
    """Raises ValueError where it is no truth value as the harness writes it."""
    if cell not in ("True", "False"):
        raise ValueError(cell)
    return cell == "True"


def _texts(cells: Sequence[Cell]) -> Any:
    return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
