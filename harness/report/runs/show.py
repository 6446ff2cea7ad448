"""A comparison for the terminal, and as a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.analysis.metrics import ENERGY, METRICS
from harness.analysis.statistics.intervals import Estimate
from harness.contract.columns import COMPARISON_COLUMNS
from harness.display import text
from harness.errors import BadInputError
from harness.report.runs.differences import Difference
from harness.report.runs.numbers import Compared
from harness.report.tables import show

_LONGEST = 48


def comparison_tables(
    names: Sequence[str], found: Sequence[Difference], rows: Sequence[Compared], notes: Sequence[str] = ()
) -> Group:
    """What differed, then the numbers; `notes` are said of those of energy."""
    parts: list[Table | Text] = []
    if found:
        table = _table("what differed")
        for heading in ("", "", *names):
            table.add_column(heading, overflow="fold")
        before = ""
        for each in found:
            table.add_row(each.kind if each.kind != before else "", each.name, *map(_short, each.values))
            before = each.kind
        parts.append(table)
    else:
        parts.append(Text("experiment, code, boards and versions are the same"))
    for label in dict.fromkeys(row.series for row in rows):
        parts.append(_numbers(label, [row for row in rows if row.series == label]))
    if any(row.differs for row in rows):
        parts.append(Text("* the 95% interval of the ratio leaves 1 out", style="dim"))
    if any(row.metric in ENERGY for row in rows):
        parts += [Text(note, style="yellow") for note in notes]
    if rows and not any(row.ratio.has_interval for row in rows):
        parts.append(Text("no intervals: a run has one trial of a size; --repeats 3 gives them", style="yellow"))
    return Group(*parts)


def _numbers(label: str, rows: Sequence[Compared]) -> Table:
    """A heading a size and a number, and below it the runs: names are long, and the terminal may be narrow."""
    table = _table(label or "medians of the repeats")
    table.add_column("", overflow="fold")
    for heading in ("trials", "median", "95%", "ratio", "95%"):
        table.add_column(heading, justify="right", no_wrap=True)
    before = ("", "")
    for row in rows:
        heads = (text.nodes(row.nodes), _heading(row.metric))
        for head in heads if heads[0] != before[0] else heads[1:] if heads != before else ():
            table.add_row(head, style="bold")
        before = heads
        value = show(row.metric)
        middle = f"{text.ratio(row.ratio.value)}{'*' if row.differs else ''}"
        cells = (value(row.value.value), _span(row.value, value), middle, _span(row.ratio, text.ratio))
        table.add_row(Padding(row.run, (0, 0, 0, 2)), str(row.trials), *cells)
    return table


def _heading(metric: str) -> str:
    """What a number is called; of energy also of what it is."""
    column = METRICS[metric]
    heading = column.heading or metric
    return f"{heading}, {column.remark}" if metric in ENERGY else heading


def _span(one: Estimate, shown: Callable[[float], str]) -> str:
    return f"{shown(one.low)} - {shown(one.high)}" if one.has_interval else ""


def _table(title: str) -> Table:
    return Table(
        title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )


def _short(value: str) -> str:
    return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 3]}..."


def write_comparison(file: Path, rows: Sequence[Compared]) -> None:
    """The numbers as CSV. Raises BadInputError where the file cannot be written."""
    try:
        with file.open("w", newline="", encoding="utf-8") as output:
            writer = csv.writer(output, lineterminator="\n")
            writer.writerow(COMPARISON_COLUMNS)
            for row in rows:
                numbers = (
                    row.value.value,
                    row.value.low,
                    row.value.high,
                    row.ratio.value,
                    row.ratio.low,
                    row.ratio.high,
                )
                cells = ["" if math.isnan(each) else repr(float(each)) for each in numbers]
                writer.writerow([row.run, row.series, row.nodes, row.metric, row.trials, *cells])
    except OSError as error:
        raise BadInputError(f"cannot write {file}: {error.strerror or error}", "name another file with --csv") from None
