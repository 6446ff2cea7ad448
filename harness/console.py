"""Where the command line prints: results on stdout, everything else on stderr.

What nodes, programs, paths and users say is shown as it is: brackets are no markup, colours are given as styles, and characters
that would steer the terminal are replaced.
"""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.errors import HarnessError

_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    """The text with a question mark for every control character but end of line and tabulator."""
    return _STEERING.sub("?", text)


class PlainConsole(Console):
    """Shows text as it is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """What Rich asks for every text that it prints, also a cell's."""
        return super().render_str(visible(text), **options)


out = PlainConsole()
err = PlainConsole(stderr=True)


def print_error(error: HarnessError) -> None:
    """One line that names the thing, one that names the remedy."""
    err.print(f"error: {error.message}", style="red", soft_wrap=True)
    if error.remedy:
        err.print(f"  try: {error.remedy}", soft_wrap=True)
