"""The verb `pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.group import verb_app
from harness.cli.options import RunDirectory
from harness.console import out
from harness.results.opening import open_run

app = verb_app()


@app.command()
def pack(
    run: RunDirectory,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", help="The archive.", show_default="EXPERIMENT-RUN.tar.gz in this directory"
        ),
    ] = None,
) -> None:
    """Pack a run into one archive with everything to read it later: tables, manifest, report, experiment, columns.

    Checkpoints are left out. The same run gives the same bytes. The archive's path is printed.
    """
    from harness.report.runs.packing import pack as make_archive  # noqa: PLC0415 - the plotting libraries take a second to load
    from harness.report.runs.packing import read_manifest  # noqa: PLC0415

    paths = open_run(run)
    file = output or Path(f"{paths.root.parent.name}-{paths.root.name}.tar.gz")
    make_archive(paths, read_manifest(paths), file)
    out.print(str(file), soft_wrap=True)
