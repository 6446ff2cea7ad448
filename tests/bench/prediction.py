"""How wrong `harness predict` is on cluster sizes that it has not seen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.bench.row import Row, at_most
from tests.bench.stage import Stage
from tests.bench.stores import BASELINES, BATCH, OURS

ERROR_PERCENT = 10.0
SERIES = (OURS, "tuned")
STEPS = 30
EPOCHS = 4
"""All but the first count; with 11 nodes one epoch of so few steps is seconds, and a machine's pace changes within them.

It also changes between minutes: by a tenth, as much as the bar. So every size is measured in every repeat."""


def measure(stage: Stage) -> Iterator[Row]:
    """Sweep two stores over cluster sizes, fit to all but one size, predict that one; every size in its turn."""
    run, _ = stage.sweep(
        BASELINES,
        *("--nodes", ",".join(map(str, sizes(stage.nodes))), "--repeats", str(stage.repeats)),
        *("--set", f"limit={stage.nodes * BATCH * STEPS}", "--set", f"epochs={EPOCHS}"),
        *(word for name in SERIES for word in ("--variant", name)),
        into="prediction",
    )
    answer = stage.harness("predict", run, "--json").output
    yield from rows(json.loads(answer[answer.index("{") :]))


def sizes(nodes: int) -> list[int]:
    """Cluster sizes to measure, rising: every power of two up to `nodes`, and `nodes` itself; 11 gives 1, 2, 4, 8, 11. Pure."""
    return sorted({2**power for power in range(nodes.bit_length())} | {nodes})


def rows(answer: Mapping[str, Any]) -> Iterator[Row]:
    """The table's lines; pure."""
    for series in answer["series"]:
        errors = {held["nodes"]: 100 * abs(held["error"]) for held in series["held_out"]}
        note = ", ".join(f"{nodes}: {error:.1f}" for nodes, error in errors.items())
        worst = max(errors.values(), default=None)
        yield Row(
            f"prediction of left out sizes: {series['series']}, worst",
            "% off",
            () if worst is None else (worst,),
            at_most(ERROR_PERCENT),
            f"by nodes {note}" if errors else "two sizes or fewer: nothing can be left out",
        )
