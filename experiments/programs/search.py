"""Search for an estimator's best parameters, on one node or on Dask's workers. See `search.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the package `tasks` is

from tasks.job import Job
from tasks.program import main


def make(options: Mapping[str, Any]) -> Job:
    """The work; what it needs is imported only by ranks that need it."""
    from tasks.work.search import Search

    return Search(options)


if __name__ == "__main__":
    sys.exit(main("search.py", make, sys.argv[1:]))
