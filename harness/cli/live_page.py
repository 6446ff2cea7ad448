"""The live page of `watch` and of `sweep --live`."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.console import err
from harness.live.reader import RunReader
from harness.live.server import LiveServer
from harness.results.run_paths import RunPaths


@contextmanager
def live_page(port: int | None, open_browser: bool) -> Iterator[Callable[[RunPaths], None]]:
    """Serve a page while the block lasts, and print its address; what is yielded makes it show a run.

    Raises BadInputError where the port cannot be had.
    """
    with LiveServer(port or 0) as server:
        err.print(f"live page: {server.url}", soft_wrap=True)
        if open_browser:
            _open(server.url)
        yield lambda paths: server.show(RunReader(paths).document)


def _open(url: str) -> None:
    """Open a browser; not one that would take the terminal."""
    graphical = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not graphical or not webbrowser.open(url):
        err.print("warning: no browser can be opened here: open the live page's address yourself", style="yellow")
