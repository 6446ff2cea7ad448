"""Where the command line prints: results on stdout, everything else on stderr."""

from __future__ import annotations

from rich.console import Console

from harness.errors import HarnessError

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def print_error(error: HarnessError) -> None:
    """One line that names the thing, one that names the remedy."""
    err.print(f"error: {error.message}", style="red", markup=False, soft_wrap=True)
    if error.remedy:
        err.print(f"  try: {error.remedy}", markup=False, soft_wrap=True)
