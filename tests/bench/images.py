"""What the card images' own run measured; a build takes longer than all else here, so it is read, not made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.paths import REPOSITORY
from tests.bench.row import Bar, Row, at_most
from tests.bench.stage import Stage

FIGURES = REPOSITORY / "build" / "images" / "figures.json"
HOW = "make card images first: docs/how-to/card-images.md"
_BARS: Mapping[str, tuple[str, Bar | None]] = {
    "base_build_seconds": ("card image: base built", at_most(720)),
    "base_cached_seconds": ("card image: base from the cache", at_most(10)),
    "base_assemble_seconds": ("card image: base put together", None),
    "node_seconds": ("card image: one node's", at_most(5)),
    "raspi3b_ssh_seconds": ("card image: emulated Pi 3 to SSH", at_most(240)),
    "raspi3b_ready_seconds": ("card image: emulated Pi 3 to the end of its first boot", None),
}


def measure(_: Stage) -> Iterator[Row]:
    """Rows of the figures file."""
    yield from rows(FIGURES)


def rows(path: Path) -> Iterator[Row]:
    """The table's lines from a figures file, which need not be there."""
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for key, (what, bar) in _BARS.items():
        found = figures.get(key)
        values = list(found.values()) if isinstance(found, dict) else [] if found is None else [found]
        if values or bar:
            yield Row(what, "s", values, bar, "" if values else HOW)
