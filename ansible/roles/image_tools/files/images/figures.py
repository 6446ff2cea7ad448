"""Measured seconds of the steps, kept in one JSON file beside the images for whoever prints them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .host import lock, write_whole

NAME = "figures.json"


def record(output: Path, figures: Mapping[str, object]) -> None:
    """Merge `figures` into the output directory's file; a mapping merges into the mapping of its name."""
    path = output / NAME
    with lock(path):
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        for name, value in figures.items():
            known[name] = {**known.get(name, {}), **value} if isinstance(value, Mapping) else value
        write_whole(path, (json.dumps(known, indent=1, sort_keys=True) + "\n").encode())
