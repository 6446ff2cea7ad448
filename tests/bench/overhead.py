"""What the harness adds between the user's Enter and the first training step."""

from __future__ import annotations

from collections.abc import Iterator

from harness.paths import EXPERIMENTS
from tests.bench.measures import start_of
from tests.bench.row import Row, at_most
from tests.bench.stage import Stage

OVERHEAD_SECONDS = 3.0
EXPERIMENT = EXPERIMENTS / "quickstart.yaml"


def measure(stage: Stage) -> Iterator[Row]:
    """Sweep one trial on all nodes, several times, each a harness process of its own."""
    starts = []
    for _ in range(stage.repeats):
        run, done = stage.sweep(EXPERIMENT, "--nodes", str(stage.nodes), "--set", "epochs=1")
        starts.append(start_of(run, done.began))
    yield Row(
        f"`sweep` to the first step at {stage.nodes} nodes, less the slowest rank's own start",
        "s",
        [start.overhead for start in starts],
        at_most(OVERHEAD_SECONDS),
        "own start: imports, data and store, as the rank measures them",
    )
    marks = {
        "nodes connected, checked and held": [start.manifest for start in starts],
        "trial handed to the nodes": [start.launched for start in starts],
        "the last worker's program begun": [start.programs for start in starts],
        "the last worker ready": [start.ready for start in starts],
    }
    for name, values in marks.items():
        yield Row(f"  since `sweep`: {name}", "s", values)
    yield Row("  the slowest rank's own start", "s", [start.slowest for start in starts])
