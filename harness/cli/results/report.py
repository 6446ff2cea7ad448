"""The verb `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.group import verb_app
from harness.cli.options import KwhPrice, RunDirectory, Target
from harness.console import out
from harness.results.opening import open_run
from harness.results.run_paths import RunPaths

app = verb_app()


@app.command()
def report(
    run: RunDirectory,
    target: Target = None,
    accuracy_from: Annotated[
        Path | None,
        typer.Option(
            "--accuracy-from",
            metavar="RUN",
            help="Take the epochs to an accuracy from another run of the same training, and a step's time from this one.",
        ),
    ] = None,
    kwh_price: KwhPrice = None,
) -> None:
    """Make a run's report.html and figures again, from its CSV files and manifest."""
    report_on(open_run(run), target, open_run(accuracy_from) if accuracy_from else None, kwh_price)


def report_on(
    paths: RunPaths,
    target: float | None = None,
    accuracy_from: RunPaths | None = None,
    kwh_price: float | None = None,
) -> None:
    """Make and print the report of a run; `target` is a share, `accuracy_from` a run that was validated, the price in euros.

    Raises BadInputError where a run cannot be read, or the two are of different training.
    """
    # The plotting libraries take a second to load; a sweep needs them only once it is over.
    from harness.report import make_report, summary  # noqa: PLC0415

    make_report(paths, target, accuracy_from, kwh_price)
    out.print(summary(paths, target, accuracy_from, kwh_price))
    out.print(f"report: {paths.report}", soft_wrap=True)
