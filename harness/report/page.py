"""The page: one self-contained HTML file, made from an analysis, its figures and the manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.analysis.analysis import Analysis
from harness.analysis.measures import speedup_basis
from harness.analysis.series import show_value
from harness.display import style, text
from harness.display.stylesheet import stylesheet
from harness.report import findings, svg
from harness.report.drawings import basis
from harness.report.energy import energy_tables
from harness.report.figures import FigureFile
from harness.report.provenance import essentials, flatten
from harness.report.tables import goal_text, tables

_UNIT = re.compile(r"(?<=\d) (?=(?:ms|s|min|h|B|kB|MB|GB|nodes?|epochs?|trials?|Mbit/s)\b)")


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
        one_size=len(analysis.sizes) == 1,
        stylesheet=Markup(stylesheet(len(analysis.sizes))),  # noqa: S704 - ours
        cpu_models=analysis.cpu_models,
        goals_note=analysis.goals_note,
        goals=findings.goal_sentences(analysis),
        answer=findings.answer(analysis),
        comparison=findings.comparison(analysis),
        observations=findings.observations(analysis),
        figures=[(figure, _inline(figure, themed)) for figure in figures],
        tables=[*tables(analysis), *energy_tables(analysis)],
        failures=_listed(analysis.failures),
        suspects=_listed(analysis.suspects),
        measured=len(analysis.trials),
        notes=analysis.notes,
        target=_target(analysis),
        policies=", ".join(analysis.facts.policies),
        levels=_levels(analysis),
        basis=basis(analysis),
        by_rate=speedup_basis(analysis.trials) == "images_per_second",
        bases=_bases(analysis),
        independent=analysis.efficiency_basis == "independent",
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


def _listed(rows: pd.DataFrame) -> list[tuple[str, str, str]]:
    return [
        (
            show_value(row["trial"]),
            text.nodes(row["nodes"]),
            show_value(row["failure"]) or show_value(row["suspect_because"]),
        )
        for _, row in rows.iterrows()
    ]


def _target(analysis: Analysis) -> str:
    if analysis.target is None:
        return ""
    goal = text.percent(analysis.target.accuracy, 1)
    if analysis.target.lowered:
        return f"{goal} (the highest level that every trial reached; not all reached 97%)"
    return goal


def _levels(analysis: Analysis) -> str:
    return ", ".join(goal_text(accuracy) for accuracy in analysis.headlines)


def _bases(analysis: Analysis) -> str:
    bases = sorted(set(analysis.points["base_nodes"]))
    return " or ".join(text.nodes(base) for base in bases) + (" (its smallest measured size)" if bases else "")
