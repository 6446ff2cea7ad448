"""Measured seconds of the steps, kept in one JSON file beside the images for whoever prints them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness.errors import BadInputError
from harness.images.host import MAKE_IMAGES, lock
from harness.system.files import write_whole

NAME = "figures.json"


def record(output: Path, figures: Mapping[str, object]) -> None:
    """Merge `figures` into the output directory's file; a mapping merges into the mapping of its name."""
    path = output / NAME
    with lock(path):
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        for name, value in figures.items():
            known[name] = {**known.get(name, {}), **value} if isinstance(value, Mapping) else value
        write_whole(path, (json.dumps(known, indent=1, sort_keys=True) + "\n").encode())


# What each step may take on two cores that do nothing else, in seconds.
BARS = {
    "base_build_seconds": 720.0,
    "base_cached_seconds": 10.0,
    "node_seconds": 5.0,
    "raspi3b_ssh_seconds": 240.0,
}


def bars(figures: Mapping[str, object]) -> list[dict[str, object]]:
    """Every figure that has been measured beside its bar; of the nodes, the slowest."""
    rows: list[dict[str, object]] = []
    for name, bar in BARS.items():
        value = figures.get(name)
        seconds = max(value.values(), default=None) if isinstance(value, Mapping) else value
        if isinstance(seconds, int | float):
            rows.append({"name": name, "seconds": seconds, "bar_seconds": bar, "held": seconds <= bar})
    return rows


def read(output: Path) -> dict[str, object]:
    """What was measured when the images of an output directory were made; BadInputError where nothing was."""
    path = output / NAME
    if not path.is_file():
        raise BadInputError(f"{path}: nothing was measured", MAKE_IMAGES)
    measured: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return measured
