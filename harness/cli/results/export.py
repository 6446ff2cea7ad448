"""The verb `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.group import verb_app
from harness.cli.options import RunDirectory
from harness.console import err, out
from harness.errors import BadInputError
from harness.export.formats import Format, require
from harness.results.opening import open_run

app = verb_app()


@app.command()
def export(
    run: RunDirectory,
    to: Annotated[Format, typer.Option("--to", help="The format.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="The new directory.", show_default="EXPERIMENT-RUN-FORMAT here"
        ),
    ] = None,
    tracking_uri: Annotated[
        bool,
        typer.Option(
            "--use-tracking-uri", help="mlflow: write to the store that MLFLOW_TRACKING_URI names, not to a directory."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
) -> None:
    """Write a run in a format of another project: Parquet tables, an MLflow store, TensorBoard logs, an RO-Crate.

    Each needs its library, and says how it is installed. The export's place is printed.
    """
    require(to)
    if tracking_uri and (to is not Format.MLFLOW or output is not None):
        raise BadInputError("--use-tracking-uri is for --to mlflow, without --output", "leave one of them out")
    # The numeric libraries take a second to load.
    from harness.export.contents import load_contents  # noqa: PLC0415

    paths = open_run(run)
    contents = load_contents(paths)
    for note in contents.notes:
        err.print(f"note: {note}", style="yellow", soft_wrap=True)
    if tracking_uri:
        from harness.export.tracking import send  # noqa: PLC0415

        send(contents, force=force)
        out.print(f"{contents.name}: in the store of MLFLOW_TRACKING_URI", soft_wrap=True)
        return
    from harness.export.writing import export as write  # noqa: PLC0415

    target = output or Path(f"{paths.root.parent.name}-{paths.root.name}-{to}")
    write(contents, to, target, force=force)
    out.print(str(target), soft_wrap=True)
