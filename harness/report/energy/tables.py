"""Energy in tables; where nothing is known of power there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.analysis.analysis import Analysis
from harness.analysis.metrics import ENERGY
from harness.analysis.series import Series
from harness.display import text
from harness.report.tables import Cell, Table, goal_text, metric_table

JOULES_PER_KWH = 3.6e6
_TITLES: dict[tuple[str, ...], str] = {
    ("meter",): "Energy",
    ("estimate",): "Energy: an estimate, not measured",
    ("declared",): "Energy: of declared watts, not measured",
}
_PARTLY = "Energy: partly not measured"
_SOURCES = {"meter": "measured", "declared": "declared", "estimate": "estimate", "": "not known"}

Column = tuple[tuple[str, str], Callable[[pd.DataFrame], Cell]]
"""What stands over a column, and its cell for the trials of one series and cluster size."""


def energy_tables(analysis: Analysis) -> list[Table]:
    """The table of all trials, then of the parts of the largest cluster size."""
    table = energy_table(analysis)
    return [] if table is None else [table, *_part_tables(analysis)]


def energy_table(analysis: Analysis) -> Table | None:
    """Power and energy by cluster size, up to the accuracies that the report leads with, and what it costs."""
    if analysis.points.empty or not analysis.energy.is_known:
        return None
    table = metric_table(analysis, _TITLES.get(analysis.energy.sources, _PARTLY), ENERGY)
    more = [*_to_accuracies(analysis), *_costs(analysis)]
    shown = [one for one in analysis.series if len(analysis.points_of(one))]
    groups = tuple(
        (label, tuple(_longer(analysis, one, more, rows)))
        for one, (label, rows) in zip(shown, table.groups, strict=True)
    )
    notes = (*table.notes, *analysis.energy.notes)
    return replace(table, columns=(*table.columns, *(head for head, _ in more)), groups=groups, notes=notes)


def _longer(
    analysis: Analysis, one: Series, more: list[Column], rows: tuple[tuple[Cell, ...], ...]
) -> Iterator[tuple[Cell, ...]]:
    """The rows of one series with further columns."""
    trials = analysis.trials_of(one)
    for nodes, row in zip(analysis.points_of(one)["nodes"], rows, strict=True):
        there = trials[trials["nodes"] == nodes]
        yield (*row, *(cell(there) for _, cell in more))


def _to_accuracies(analysis: Analysis) -> list[Column]:
    """Energy up to each accuracy of this run; none where accuracies are from another run."""
    if analysis.goals_note:
        return []

    def column(accuracy: float) -> Column:
        reached = analysis.energy.reached
        of_it = reached[reached["accuracy"] == accuracy].set_index("trial")["joules"]

        def cell(trials: pd.DataFrame) -> Cell:
            values = of_it.reindex(list(trials["trial"])).dropna().to_numpy(float)
            return Cell(text.number(float(np.median(values))) if len(values) else text.UNKNOWN)

        return ("energy", f"J to {goal_text(accuracy)}"), cell

    return [column(accuracy) for accuracy in analysis.headlines]


def _costs(analysis: Analysis) -> list[Column]:
    price = analysis.energy.kwh_price
    if price is None:
        return []

    def cell(trials: pd.DataFrame) -> Cell:
        joules = float(trials["total_joules"].median())
        return Cell(text.UNKNOWN if np.isnan(joules) else f"{joules / JOULES_PER_KWH * price:.3g}")

    return [(("cost", f"euros a trial, at {price:g} a kWh"), cell)]


def _part_tables(analysis: Analysis) -> Iterator[Table]:
    """What each part drew at the largest size of each series; medians of the repeats."""
    columns = (
        ("of", ""),
        ("power", "W, while training"),
        ("idle", "W"),
        ("energy", "J per epoch"),
        ("source", ""),
        ("samples", "cover of the time"),
    )
    groups = []
    for one in analysis.series:
        trials = analysis.trials_of(one)
        there = trials[trials["nodes"] == trials["nodes"].max()]
        parts = analysis.energy.parts
        own = parts[parts["trial"].isin(list(there["trial"]))]
        rows = tuple(_part_row(str(name), rows) for name, rows in own.groupby("name"))
        if rows:
            label = one.label if len(analysis.series) > 1 else ""
            groups.append((" · ".join(filter(None, (label, text.nodes(float(there["nodes"].max()))))), rows))
    if groups:
        yield Table("Energy by node", columns, tuple(groups))


def _part_row(name: str, rows: pd.DataFrame) -> tuple[Cell, ...]:
    medians = rows[["watts", "idle_watts", "epoch_joules"]].median()
    sources = ", ".join(_SOURCES.get(each, each) for each in sorted(set(rows["source"])))
    covered = float(rows["covered"].min()) if (rows["source"] == "meter").any() else np.nan
    numbers = (text.number(float(medians[key])) for key in ("watts", "idle_watts", "epoch_joules"))
    return (Cell(name), *map(Cell, numbers), Cell(sources), Cell(text.percent(covered, 1)))
