"""Where things are on the controller."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_PACKAGED = _PACKAGE / "share"

REPOSITORY: Path | None = None if _PACKAGED.is_dir() else _PACKAGE.parent
"""The checkout that the harness runs from; None where it was installed from a wheel."""

# What is not Python of the controller: at the top level of a checkout, inside the package of a wheel (pyproject.toml).
_SHARE = REPOSITORY or _PACKAGED
EXPERIMENTS = _SHARE / "experiments"
PROGRAMS = EXPERIMENTS / "programs"
INVENTORIES = _SHARE / "inventory"
ANSIBLE = _SHARE / "ansible"
PLAYBOOKS = ANSIBLE / "playbooks"
ANSIBLE_CONFIGURATION = _SHARE / "ansible.cfg"


def state_directory() -> Path:
    """Directory for the state of virtual clusters (`HARNESS_STATE_DIR`)."""
    return Path(os.environ.get("HARNESS_STATE_DIR", "/var/lib/harness"))


def cache_directory() -> Path:
    """Directory for what can be made again: root file systems, wheels, images (`HARNESS_CACHE_DIR`)."""
    given = os.environ.get("HARNESS_CACHE_DIR")
    if given:
        return Path(given)
    return Path("/var/cache/harness") if os.geteuid() == 0 else Path.home() / ".cache" / "harness"
