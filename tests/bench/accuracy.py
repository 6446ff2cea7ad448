"""Whether a larger learning rate makes up for a larger batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from harness.cli import DEFAULT_EXPERIMENT
from harness.store import RunPaths
from tests.bench.row import Row, at_most
from tests.bench.stage import BenchError, Stage

POINTS = 0.3
SCALED = ("learning_rate_scaling=linear", "warmup_steps=200")


def measure(stage: Stage) -> Iterator[Row]:
    """Train the default experiment to its end on one node and on all; nothing limits the processors, accuracy is no time."""
    chosen = ("--set", "epochs=2") if stage.quick else ()
    settings = [word for setting in SCALED for word in ("--set", setting)]
    alone, _ = stage.sweep(DEFAULT_EXPERIMENT, "--nodes", "1", *chosen, into="accuracy")
    together, _ = stage.sweep(DEFAULT_EXPERIMENT, "--nodes", str(stage.nodes), *settings, *chosen, into="accuracy")
    one, all_ = _accuracy(alone), _accuracy(together)
    yield Row("validation accuracy, 1 worker", "%", (one,))
    yield Row(f"validation accuracy, {stage.nodes} workers", "%", (all_,), note=", ".join(SCALED))
    bar = None if stage.quick else at_most(POINTS)
    yield Row(f"accuracy lost with {stage.nodes} workers", "points", (one - all_,), bar)


def _accuracy(run: Path) -> float:
    trial = pd.read_csv(RunPaths(run).trials).iloc[0]
    if trial["status"] == "failed":
        raise BenchError(f"accuracy: {trial['failure']}")
    return 100 * float(trial["validation_accuracy"])
