"""The report: analysis, figures and page, made from a run directory's CSVs and manifest alone."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group

from harness.disk import write_atomically
from harness.report.analysis import Analysis, analyse
from harness.report.figures import write_figures
from harness.report.load import RunData, load_run
from harness.report.page import render_page
from harness.report.terminal import summary_table
from harness.store import RunPaths

__all__ = ["make_report", "summary"]


def make_report(paths: RunPaths, target: float | None = None) -> Path:
    """Make a run's figures and `report.html` (again); returns the page's path.

    `target` is the validation accuracy that time is measured to; see `analysis.analyse`. Raises BadInputError where the run
    cannot be read and StoreError where the report cannot be written.
    """
    run = load_run(paths)
    analysis = _analysed(run, target)
    figures = write_figures(analysis, paths.figures)
    write_atomically(paths.report, render_page(analysis, figures, run.manifest).encode())
    return paths.report


def summary(paths: RunPaths, target: float | None = None) -> Group:
    """A run's tables for the terminal. Raises BadInputError where it cannot be read."""
    return summary_table(_analysed(load_run(paths), target))


def _analysed(run: RunData, target: float | None) -> Analysis:
    return analyse(run.trials, run.epochs, run.telemetry, run.manifest, target=target, notes=run.notes)
