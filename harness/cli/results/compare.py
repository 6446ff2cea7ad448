"""The verb `compare`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.group import verb_app
from harness.cli.options import Target
from harness.console import err, out
from harness.errors import EXIT_TRIALS_FAILED, BadInputError
from harness.results.opening import open_run
from harness.results.run_paths import RunPaths

app = verb_app()

FEWEST = 2


@app.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run directories; the first is what others are compared with.", metavar="RUN..."),
    ],
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write the numbers to this file too.", metavar="FILE")
    ] = None,
    target: Target = None,
) -> None:
    """Compare runs: what differed first, then their numbers side by side with intervals and ratios.

    Exit code 0: compared; 1: no number is in two of them; 2: a run cannot be read.
    """
    if len(runs) < FEWEST:
        raise BadInputError("compare takes two runs or more", "harness compare results/a/latest results/b/latest")
    paths = [open_run(run) for run in runs]
    if len(set(paths)) < len(paths):
        raise BadInputError("a run is named twice", "name each once")
    # The numeric libraries take a second to load.
    from harness.analysis.analysis import analyse_run  # noqa: PLC0415
    from harness.analysis.load import load_run  # noqa: PLC0415
    from harness.report.runs.differences import differences  # noqa: PLC0415
    from harness.report.runs.numbers import compared, energy_sources  # noqa: PLC0415
    from harness.report.runs.show import comparison_tables, write_comparison  # noqa: PLC0415

    loaded = [load_run(each) for each in paths]
    analyses = [analyse_run(run, target) for run in loaded]
    names = names_of(paths)
    rows = compared(names, analyses)
    out.print(
        comparison_tables(names, differences([run.manifest for run in loaded]), rows, energy_sources(names, analyses))
    )
    if csv is not None:
        write_comparison(csv, rows)
        out.print(f"numbers: {csv}", soft_wrap=True)
    if not rows:
        err.print("no number is in two of these runs: they have no cluster size and series in common", style="yellow")
        raise typer.Exit(EXIT_TRIALS_FAILED)


def names_of(paths: Sequence[RunPaths]) -> list[str]:
    """What each run is called: by its experiment where that tells them apart, else by its directory too."""
    experiments = [each.root.parent.name for each in paths]
    if max(Counter(experiments).values()) == 1:
        return experiments
    return [f"{each.root.parent.name}/{each.root.name}" for each in paths]
