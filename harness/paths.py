"""Where things live on the controller."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
EXPERIMENTS = REPOSITORY / "experiments"
ANSIBLE = REPOSITORY / "ansible"


def state_directory() -> Path:
    """Directory for the state of virtual clusters (`HARNESS_STATE_DIR`)."""
    return Path(os.environ.get("HARNESS_STATE_DIR", "/var/lib/harness"))


def cache_directory() -> Path:
    """Directory for what can be made again: root file systems, wheels, images (`HARNESS_CACHE_DIR`)."""
    given = os.environ.get("HARNESS_CACHE_DIR")
    if given:
        return Path(given)
    return Path("/var/cache/harness") if os.geteuid() == 0 else Path.home() / ".cache" / "harness"
