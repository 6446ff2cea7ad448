"""The data sets that the project knows, as far as the harness must know them."""

from __future__ import annotations

from functools import cache

from harness.experiment.yaml_file import read_mapping
from harness.paths import EXPERIMENTS


@cache
def embedded_datasets() -> tuple[str, ...]:
    """The names of those that travel with the code. Raises BadInputError where the list cannot be read."""
    known, _ = read_mapping(EXPERIMENTS / "data" / "datasets.yaml", "the list of data sets")
    return tuple(name for name, entry in known.items() if isinstance(entry, dict) and entry.get("embedded") is True)
