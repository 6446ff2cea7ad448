"""A home that learns from its own stream of images, and shares its model with other homes. See `online.py --help`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the package `training` is

from training.online.home import work
from training.program import reported

if __name__ == "__main__":
    sys.exit(reported(work, sys.argv[1:]))
