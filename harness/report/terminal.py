"""The report's table for the terminal."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from harness.report import text
from harness.report.analysis import Analysis


def summary_table(analysis: Analysis) -> Table:
    """One row a series and cluster size: medians of the repeats."""
    several, kept = len(analysis.series) > 1, bool(analysis.points["kept"].notna().any())
    table = Table(
        title=escape(analysis.facts.experiment),
        title_justify="left",
        caption=_caption(analysis),
        caption_justify="left",
    )
    if several:
        table.add_column(escape(", ".join(analysis.parameters)), overflow="fold")
    target = [f"to {text.percent(analysis.target.accuracy, 1)}"] if analysis.target else []
    headings = ["nodes", "epoch", "total", "speed-up", "efficiency", "images/s", "waiting", "validated", *target]
    for heading in [*headings, *(["kept"] if kept else [])]:
        table.add_column(heading, justify="right", no_wrap=True)
    for one in analysis.series:
        for position, (_, row) in enumerate(analysis.points_of(one).iterrows()):
            cells = [
                f"{row['nodes']:.0f}{'*' if row['suspects'] else ''}",
                text.seconds(row["epoch_seconds"]),
                text.seconds(row["total_seconds"]),
                text.ratio(row["speedup"]),
                text.percent(row["efficiency"]),
                text.number(row["images_per_second"]),
                text.percent(row["wait_share"]),
                text.accuracy(row["validation_accuracy"]),
                *([text.seconds(row["target_seconds"])] if target else []),
                *([text.percent(row["kept"])] if kept else []),
            ]
            label = [escape(one.label) if position == 0 else ""] if several else []
            table.add_row(*label, *cells)
        table.add_section()
    return table


def _caption(analysis: Analysis) -> str:
    parts = [
        f"{len(analysis.failures)} failed" if len(analysis.failures) else "",
        f"{len(analysis.suspects)} suspect (*)" if len(analysis.suspects) else "",
        "no trial was measured" if analysis.points.empty else "medians of the repeats",
    ]
    return "; ".join(part for part in parts if part)
