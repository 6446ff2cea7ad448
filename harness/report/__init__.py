"""The report: analysis, figures and page, made from a run directory's CSVs and manifest alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Group

from harness.analysis.analysis import Analysis, analyse_run
from harness.analysis.load import RunData, load_run
from harness.analysis.statistics.combined import with_accuracy_of
from harness.report.courses import kinds
from harness.report.figures import write_figures
from harness.report.page import render_page
from harness.report.terminal import summary_table
from harness.results.disk import write_atomically
from harness.results.run_paths import RunPaths

__all__ = ["make_report", "summary"]


def make_report(
    paths: RunPaths,
    target: float | None = None,
    accuracy_from: RunPaths | None = None,
    kwh_price: float | None = None,
) -> Path:
    """Make a run's figures and `report.html` (again); returns the page's path.

    `target` is the validation accuracy that time is measured to; see `analysis.analyse`. `accuracy_from` is a run whose epochs
    say how many steps an accuracy takes; see `statistics.combined`. `kwh_price` is what a kWh costs, in euros. Raises
    BadInputError where a run cannot be read or both have nothing in common, and ResultsError where the report cannot be
    written.
    """
    run = load_run(paths)
    analysis = _analysed(run, target, accuracy_from, kwh_price)
    figures = write_figures(analysis, paths.figures, kinds(run, paths))
    write_atomically(paths.report, render_page(analysis, figures, run.manifest).encode())
    return paths.report


def summary(
    paths: RunPaths,
    target: float | None = None,
    accuracy_from: RunPaths | None = None,
    kwh_price: float | None = None,
) -> Group:
    """A run's tables for the terminal. Raises BadInputError where it cannot be read."""
    return summary_table(_analysed(load_run(paths), target, accuracy_from, kwh_price))


def _analysed(run: RunData, target: float | None, accuracy_from: RunPaths | None, kwh_price: float | None) -> Analysis:
    timing = analyse_run(run, target)
    timing = replace(timing, energy=replace(timing.energy, kwh_price=kwh_price))
    if accuracy_from is None:
        return timing
    return with_accuracy_of(timing, analyse_run(load_run(accuracy_from), target), accuracy_from.root.name, target)
