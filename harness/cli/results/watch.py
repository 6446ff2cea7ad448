"""The verb `watch`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.group import verb_app
from harness.cli.live_page import live_page
from harness.cli.options import DEFAULT_RESULTS, LivePort, OpenBrowser, Results
from harness.console import err
from harness.results.opening import newest_run, open_run

app = verb_app()


@app.command()
def watch(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="A run directory, or an experiment's directory of runs.",
            metavar="RUN",
            show_default="the newest run",
        ),
    ] = None,
    results: Results = DEFAULT_RESULTS,
    port: LivePort = None,
    open_browser: OpenBrowser = False,
) -> None:
    """Show a run on a page that follows it while it goes on: progress, nodes, accuracy, logs.

    It reads nothing but the run directory, so it works beside a sweep, and later. The page is on this machine's loopback, until
    Ctrl-C ends it.
    """
    paths = newest_run(results) if run is None else open_run(run)
    with live_page(port, open_browser) as show:
        show(paths)
        err.print(f"run: {paths.root}", soft_wrap=True)
        threading.Event().wait()
