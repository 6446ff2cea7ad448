"""The verb `logs`."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from harness.cli.group import verb_app
from harness.cli.options import RunDirectory
from harness.results.logs import follow_log
from harness.results.opening import open_run

app = verb_app()


@app.command()
def logs(
    run: RunDirectory,
    rank: Annotated[str, typer.Option("--rank", help="For example worker3 or scheduler0.")] = "worker0",
    trial: Annotated[str | None, typer.Option("--trial", help="The trial.", show_default="the latest")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue until the trial is over.")] = False,
) -> None:
    """Print what a rank printed, while it runs or later."""
    for data in follow_log(open_run(run), trial, rank, follow, time.sleep):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
