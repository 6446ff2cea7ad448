"""Train one model on nodes that come and go, by tasks that a coordinator hands out. See `volunteer.py --help`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the packages `tasks` and `training` are

from tasks.volunteers.program import work
from training.program import reported

if __name__ == "__main__":
    sys.exit(reported(work, sys.argv[1:]))
