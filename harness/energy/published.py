"""What boards draw as others have published it: an estimate where there is no meter. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """Watts of a board with all its cores busy, and idle."""

    watts: float
    idle_watts: float
    source: str


_PI_DRAMBLE = "{board}, {busy} mA with four busy cores and {idle} mA idle: Pi Dramble, Power Consumption Benchmarks"

PUBLISHED = {
    "pi3": Published(3.7, 1.4, _PI_DRAMBLE.format(board="Raspberry Pi 3 Model B", busy=730, idle=260)),
    "pi4": Published(6.4, 2.7, _PI_DRAMBLE.format(board="Raspberry Pi 4 Model B", busy=1280, idle=540)),
}
"""By the profile (`node_profile`) of a node whose cores are all busy. Profiles of one busy core have no published figure."""
