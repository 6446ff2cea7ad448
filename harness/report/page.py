"""The page: one self-contained HTML file, made from an analysis, its figures and the manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.report import findings, style, svg, text
from harness.report.analysis import Analysis, time_basis
from harness.report.figures import FigureFile
from harness.report.findings import Show
from harness.report.provenance import essentials, flatten
from harness.report.series import Series, show_value


@dataclass(frozen=True)
class Cell:
    """A median, and the range of the repeats where there are several."""

    median: str
    spread: str = ""


@dataclass(frozen=True)
class Table:
    """Columns (heading, unit or remark) and, per series, its rows."""

    title: str
    columns: tuple[tuple[str, str], ...]
    groups: tuple[tuple[str, tuple[tuple[Cell, ...], ...]], ...]


@dataclass(frozen=True)
class _Column:
    metric: str
    heading: str
    remark: str
    show: Show


_UNIT = re.compile(r"(?<=\d) (?=(?:ms|s|min|h|B|kB|MB|GB|nodes?|epochs?|trials?|Mbit/s)\b)")

_TIME = (
    _Column("epoch_seconds", "time per epoch", "s", text.number),
    _Column("total_seconds", "total time", "s, start-up included", text.number),
    _Column("images_per_second", "images/s", "while training, first epoch left out", text.number),
    _Column("speedup", "speed-up", "", text.ratio),
    _Column("efficiency", "efficiency", "", text.percent),
    _Column("total_speedup", "speed-up", "of the total time", text.ratio),
    _Column("kept", "kept", "of the control", text.percent),
)
_COST = (
    _Column("wait_share", "waiting", "share of an epoch", text.percent),
    _Column("validation_share", "validation", "share of an epoch", text.percent),
    _Column("startup_seconds", "start-up", "s", text.number),
    _Column("step_seconds", "step", "", text.seconds),
    _Column("wait_step_seconds", "waiting", "per step", text.seconds),
    _Column("bytes_per_worker_step", "bytes", "per step and worker", text.size),
    _Column("bytes_per_image", "bytes", "per image", text.size),
)
_ACCURACY = (
    _Column("train_accuracy", "training", "at the end", text.accuracy),
    _Column("validation_accuracy", "validation", "at the end", text.accuracy),
    _Column("best_validation_accuracy", "validation", "best", text.accuracy),
    _Column("epochs", "epochs", "", text.number),
    _Column("global_batch", "global batch", "images", text.number),
    _Column("steps_per_epoch", "updates", "per epoch", text.number),
    _Column("target_epochs", "epochs to target", "", text.number),
    _Column("target_seconds", "time to target", "s", text.number),
    _Column("speedup", "speed-up", "", text.ratio),
)


def render_page(analysis: Analysis, figures: Sequence[FigureFile], manifest: Mapping[str, Any]) -> str:
    """The report as HTML; nothing in it refers to anything outside it."""
    themed = style.dark_colours(len(analysis.sizes))
    environment = Environment(
        loader=PackageLoader("harness.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["unbroken"] = unbroken
    return environment.get_template("page.html.j2").render(
        facts=analysis.facts,
        light=Markup(svg.variables(themed, dark=False)),  # noqa: S704 - colours of ours
        dark=Markup(svg.variables(themed, dark=True)),  # noqa: S704 - colours of ours
        answer=findings.answer(analysis),
        comparison=findings.comparison(analysis),
        observations=findings.observations(analysis),
        figures=[(figure, _inline(figure, themed)) for figure in figures],
        tables=_tables(analysis),
        failures=_listed(analysis.failures),
        suspects=_listed(analysis.suspects),
        measured=len(analysis.trials),
        notes=analysis.notes,
        target=_target(analysis),
        basis="time per epoch" if time_basis(analysis.trials) == "epoch_seconds" else "total time",
        bases=_bases(analysis),
        essentials=essentials(manifest),
        manifest=flatten(manifest),
    )


def unbroken(sentence: str) -> str:
    """A sentence whose numbers keep their units on the same line."""
    return _UNIT.sub("\N{NO-BREAK SPACE}", sentence)


def _inline(figure: FigureFile, themed: Mapping[str, str]) -> Markup:
    # Matplotlib escapes every text that it writes into an SVG.
    document = figure.svg.read_text(encoding="utf-8")
    return Markup(svg.inline(document, figure.stem, themed))  # noqa: S704


def _tables(analysis: Analysis) -> list[Table]:
    if analysis.points.empty:
        return []
    named = (("Time", _TIME), ("What an epoch's time went into", _COST), ("Accuracy", _ACCURACY))
    return [table for title, columns in named if len((table := _table(analysis, title, columns)).columns) > 2]


def _table(analysis: Analysis, title: str, columns: Sequence[_Column]) -> Table:
    """A table of the columns that the run has data for."""
    shown = [column for column in columns if analysis.points[column.metric].notna().any()]
    groups = [(one, analysis.points_of(one)) for one in analysis.series]
    return Table(
        title,
        (("nodes", ""), ("trials", ""), *((column.heading, column.remark) for column in shown)),
        tuple(
            (_group_label(analysis, one), tuple(_cells(row, shown) for _, row in points.iterrows()))
            for one, points in groups
            if len(points)
        ),
    )


def _cells(row: pd.Series, columns: Sequence[_Column]) -> tuple[Cell, ...]:
    count = f"{row['trials']:.0f}" + (f" ({row['suspects']:.0f} suspect)" if row["suspects"] else "")
    return (Cell(f"{row['nodes']:.0f}"), Cell(count), *(_cell(row, column) for column in columns))


def _cell(row: pd.Series, column: _Column) -> Cell:
    median, low, high = (column.show(row[f"{column.metric}{end}"]) for end in ("", "_min", "_max"))
    several = row["trials"] > 1 and low != high
    return Cell(median, f"{low} … {high}" if several else "")


def _group_label(analysis: Analysis, one: Series) -> str:
    if len(analysis.series) == 1:
        return ""
    return f"{one.label} (control: no store)" if one.control else one.label


def _listed(rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    return [
        (show_value(row["trial"]), text.nodes(row["nodes"]), show_value(row["failure"])) for _, row in rows.iterrows()
    ]


def _target(analysis: Analysis) -> str:
    if analysis.target is None:
        return ""
    goal = text.percent(analysis.target.accuracy, 1)
    if analysis.target.lowered:
        return f"{goal} (the highest level that every trial reached; not all reached 97%)"
    return goal


def _bases(analysis: Analysis) -> str:
    bases = sorted(set(analysis.points["base_nodes"]))
    return " or ".join(text.nodes(base) for base in bases) + (" (its smallest measured size)" if bases else "")
