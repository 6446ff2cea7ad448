"""What an upgrade by apt-get does, from what `apt-get --simulate` says; pure."""

from __future__ import annotations

import re
from typing import Any

# `Inst name [old] (new origin ...)`, without `[old]` where it is new; `Remv name [old]`.
_ACTION = re.compile(r"^(Inst|Remv) (\S+)(?: \[([^]]*)\])?(?: \((\S+))?", re.MULTILINE)
_KEPT_BACK = re.compile(r"kept back:\n((?:  .*(?:\n|$))+)")
# What runs only after a boot.
_BOOTED = re.compile(r"linux-image-|raspberrypi-(kernel|bootloader)|raspi-firmware|rpi-eeprom")


def apt_plan(simulated: str) -> dict[str, list[str]]:
    """Read the output of `apt-get --simulate`.

    Returns `changes`, a sentence for each package that is upgraded, installed or removed; `kept_back`, the names of those that
    stay older than they could be; `booted`, the names of those among the changed that need a boot.
    """
    actions = _ACTION.findall(simulated)
    kept_back = _KEPT_BACK.search(simulated)
    return {
        "changes": [_sentence(*action) for action in actions],
        "kept_back": kept_back.group(1).split() if kept_back else [],
        "booted": [name for what, name, _, _ in actions if what == "Inst" and _BOOTED.match(name)],
    }


def _sentence(what: str, name: str, old: str, new: str) -> str:
    if what == "Remv":
        return f"{name} {old}: removed"
    return f"{name} {old} -> {new}" if old else f"{name} {new}: new"


class FilterModule:
    """Ansible's way to find the filters."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {"apt_plan": apt_plan}
