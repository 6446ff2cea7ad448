"""Train a forest on one node or on Dask's workers. See `forest.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the package `tasks` is

from tasks.job import Job
from tasks.program import main


def make(options: Mapping[str, Any]) -> Job:
    """The forest; scikit-learn is imported only by ranks that need it."""
    from tasks.work.forest import Forest

    return Forest(options)


if __name__ == "__main__":
    sys.exit(main("forest.py", make, sys.argv[1:]))
