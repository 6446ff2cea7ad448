"""The report for the terminal: the time to accuracy, then a table a series, fit for 80 columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from harness.analysis.analysis import Analysis
from harness.analysis.series import Series
from harness.analysis.statistics.efficiency import is_above
from harness.display import text
from harness.report.energy import energy_table
from harness.report.tables import EFFICIENCY_REMARKS, MARK, above_notes, show, shown_metrics

# Shorter than the page's: a terminal has 80 columns.
_HEADINGS = {
    "epoch_seconds": "epoch s",
    "total_seconds": "total s",
    "speedup": "speed-up",
    "efficiency": "efficiency",
    "images_per_second": "img/s",
    "wait_share": "wait",
    "validation_accuracy": "accuracy",
}


def summary_table(analysis: Analysis) -> Group:
    """The time to accuracy, and a table a series, one row a cluster size: medians of the repeats."""
    shown = [one for one in analysis.series if len(analysis.points_of(one))]
    metrics = shown_metrics(analysis, list(_HEADINGS))
    tables = [_table(analysis, one, metrics, titled=len(analysis.series) > 1) for one in shown]
    notes = [Text(note, style="yellow") for note in (*above_notes(analysis), analysis.goals_note) if note]
    return Group(
        Text(analysis.facts.experiment, style="bold"),
        *_goals(analysis),
        *tables,
        *_energy(analysis),
        Text(_caption(analysis), style="dim"),
        *notes,
    )


def _goals(analysis: Analysis) -> list[Table]:
    """A table for each accuracy to lead with, a row a cluster size."""
    found = []
    for accuracy in analysis.headlines:
        all_sizes = analysis.goals[analysis.goals["accuracy"] == accuracy]
        rows = all_sizes[np.isfinite(all_sizes["seconds"])]
        several = bool((rows["nodes"] != rows["base_nodes"]).any())
        policies, families = bool(rows["policy"].any()), rows["family"].nunique() > 1
        table = _empty(None)
        table.add_column("nodes", justify="right", no_wrap=True)
        table.add_column(f"s to {text.percent(accuracy, 1)}", justify="right", no_wrap=True)
        ranges = bool(rows["speedup_low"].notna().any())
        for heading in ("speed-up", *(["95%"] if ranges else [])) if several else ():
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("epochs", justify="right", no_wrap=True)
        for heading in [*(["policy"] if policies else []), *(["series"] if families else [])]:
            table.add_column(heading)
        for _, row in rows.iterrows():
            cells = [f"{row['nodes']:.0f}", text.number(row["seconds"])]
            cells += [text.ratio(row["speedup"]), *([_span(row)] if ranges else [])] if several else []
            cells += [text.count(row["epochs"])]
            table.add_row(*cells, *([row["policy"]] if policies else []), *([row["label"]] if families else []))
        found.append(table)
        never = sorted(set(all_sizes["nodes"]) - set(rows["nodes"]))
        if never:
            table.caption = Text(f"not reached on {', '.join(map(str, never))} nodes", style="dim")
    return found


def _energy(analysis: Analysis) -> list[Table | Text]:
    """The page's table of energy, and what must be known beside it."""
    found = energy_table(analysis)
    if found is None:
        return []
    shown = []
    for label, rows in found.groups:
        table = _empty(Text(" · ".join(filter(None, (found.title, label)))))
        for heading, remark in found.columns:
            table.add_column(f"{heading}\n{remark}" if remark else heading, justify="right")
        for row in rows:
            table.add_row(*(cell.median for cell in row))
        shown.append(table)
    return [*shown, *(Text(note, style="dim") for note in found.notes)]


def _span(row: pd.Series) -> str:
    low, high = row["speedup_low"], row["speedup_high"]
    if np.isnan(low) or row["nodes"] == row["base_nodes"]:
        return ""
    return text.between(low, high, text.ratio, "-") or f"{text.ratio(low)} - {text.ratio(high)}"


def _table(analysis: Analysis, one: Series, metrics: list[str], *, titled: bool) -> Table:
    table = _empty(Text(f"{one.label} ({text.CONTROL})" if one.control else one.label) if titled else None)
    table.add_column("nodes", justify="right", no_wrap=True)
    for metric in metrics:
        table.add_column(_HEADINGS[metric], justify="right", no_wrap=True, min_width=6)
    for _, row in analysis.points_of(one).iterrows():
        table.add_row(_size(row), *(_shown(row, metric) for metric in metrics))
    return table


def _empty(title: Text | None) -> Table:
    return Table(
        title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=0
    )


def _shown(row: pd.Series, metric: str) -> str:
    return show(metric)(row[metric]) + (MARK if metric == "efficiency" and is_above(row) else "")


def _size(row: pd.Series) -> str:
    return f"{row['nodes']:.0f}{'*' if row['suspects'] else ''}"


def _caption(analysis: Analysis) -> str:
    parts = (
        "no trial was measured" if analysis.points.empty else "medians of the repeats",
        f"{len(analysis.failures)} failed and left out" if len(analysis.failures) else "",
        f"* {len(analysis.suspects)} suspect" if len(analysis.suspects) else "",
        f"efficiency: {EFFICIENCY_REMARKS[analysis.efficiency_basis]}" if len(analysis.points) else "",
    )
    return "; ".join(part for part in parts if part)
