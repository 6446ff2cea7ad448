"""The report for the terminal: a table a series, fit for 80 columns."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from harness.report import text
from harness.report.analysis import Analysis
from harness.report.findings import Show
from harness.report.series import Series

_Column = tuple[str, str, Show]


def summary_table(analysis: Analysis) -> Group:
    """A table a series, one row a cluster size: medians of the repeats."""
    shown = [one for one in analysis.series if len(analysis.points_of(one))]
    columns = [column for column in _columns(analysis) if analysis.points[column[0]].notna().any()]
    tables = [_table(analysis, one, columns, titled=len(analysis.series) > 1) for one in shown]
    return Group(Text(analysis.facts.experiment, style="bold"), *tables, Text(_caption(analysis), style="dim"))


def _columns(analysis: Analysis) -> list[_Column]:
    goal = f"s to {text.percent(analysis.target.accuracy, 1)}" if analysis.target else ""
    return [
        ("epoch_seconds", "epoch s", text.number),
        ("total_seconds", "total s", text.number),
        ("speedup", "speed-up", text.ratio),
        ("efficiency", "effic.", text.percent),
        ("images_per_second", "img/s", text.number),
        ("wait_share", "wait", text.percent),
        ("validation_accuracy", "accuracy", text.accuracy),
        ("target_seconds", goal, text.number),
        ("kept", "kept", text.percent),
    ]


def _table(analysis: Analysis, one: Series, columns: list[_Column], *, titled: bool) -> Table:
    title = Text(f"{one.label} (control: no store)" if one.control else one.label) if titled else None
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("nodes", justify="right", no_wrap=True)
    for _, heading, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True, min_width=6)
    for _, row in analysis.points_of(one).iterrows():
        table.add_row(_size(row), *(show(row[metric]) for metric, _, show in columns))
    return table


def _size(row: pd.Series) -> str:
    return f"{row['nodes']:.0f}{'*' if row['suspects'] else ''}"


def _caption(analysis: Analysis) -> str:
    parts = (
        "no trial was measured" if analysis.points.empty else "medians of the repeats",
        f"{len(analysis.failures)} failed and left out" if len(analysis.failures) else "",
        f"* {len(analysis.suspects)} suspect" if len(analysis.suspects) else "",
    )
    return "; ".join(part for part in parts if part)
