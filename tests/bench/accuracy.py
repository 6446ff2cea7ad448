"""Time to accuracy: steps to it from whole epochs that nothing slows down, seconds a step from a few steps at one speed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from harness.analysis.analysis import Analysis, analyse_run
from harness.analysis.load import load_run
from harness.analysis.statistics.combined import combined_goals
from harness.cli.options import DEFAULT_EXPERIMENT
from harness.paths import EXPERIMENTS
from harness.results.run_paths import RunPaths
from tests.bench.row import Row, at_least, at_most
from tests.bench.stage import Stage, settings

PUBLISHED = EXPERIMENTS / "lenet_scaling.yaml"
POINTS = 0.3
LONGEST = "epochs_4"
"""The policy by which one and all are compared at the end, and whose steps are timed: all take as long a step."""
GOALS = {0.98: None, 0.985: at_least(4.5)}
"""Accuracies, and by how much all nodes have to be sooner there than one."""
PUBLISHED_GOAL, SOONER = 0.985, at_least(12)
STEPS, QUICK_STEPS, EPOCHS = 20, 8, 3


def measure(stage: Stage) -> Iterator[Row]:
    """Train one node and all by every policy, and one node at the published rate; then time their steps."""
    sizes = ("--nodes", f"1,{stage.nodes}")
    short = ("--set", "epochs=1") if stage.quick else ()
    stage.up(stage.nodes, profile="none")
    found, published = (
        _analysis(stage.sweep(experiment, *chosen, "--repeats", str(stage.repeats), *short, into="accuracy")[0])
        for experiment, chosen in ((DEFAULT_EXPERIMENT, sizes), (PUBLISHED, ("--nodes", "1", "--set", "kvstore=none")))
    )
    yield from lost(found, stage.nodes, bar=not stage.quick)
    stage.up(stage.nodes, dilation=stage.dilation)
    steps = QUICK_STEPS if stage.quick else STEPS
    words = settings(epoch_steps=steps, epochs=EPOCHS, validation="false")
    timing, _ = stage.sweep(
        DEFAULT_EXPERIMENT, *sizes, "--variant", LONGEST, "--repeats", str(stage.repeats), *words, into="timing"
    )
    yield from sooner(combined_goals(_analysis(timing), found), epochs_to(published, PUBLISHED_GOAL), stage.nodes)


def lost(found: Analysis, nodes: int, *, bar: bool) -> Iterator[Row]:
    """Accuracy at the end on one node and on all, and what was lost; pure."""
    one, all_ = (_last(found, size, LONGEST) for size in (1, nodes))
    yield Row("validation accuracy, 1 worker", "%", tuple(one.values()), note=LONGEST)
    yield Row(f"validation accuracy, {nodes} workers", "%", tuple(all_.values()), note=LONGEST)
    points = tuple(one[repeat] - all_[repeat] for repeat in sorted(one.keys() & all_.keys()))
    yield Row(f"accuracy lost with {nodes} workers", "points", points, at_most(POINTS) if bar else None)


def sooner(goals: pd.DataFrame, published_epochs: float, nodes: int) -> Iterator[Row]:
    """By how much sooner all nodes have an accuracy than one, each at its best, and than one at the published rate; pure.

    Args:
        goals: frame as `combined_goals` gives it.
        published_epochs: in how many one worker at the published rate was there, inf where it was not.
        nodes: the largest size.
    """
    for goal, bar in GOALS.items():
        there = {int(row["nodes"]): row for _, row in goals[goals["accuracy"] == goal].iterrows()}
        what = f"time to {100 * goal:g}%, 1 node / {nodes}"
        if not {1, nodes} <= there.keys():
            yield Row(what, "", note="not reached")
            continue
        one, all_ = there[1], there[nodes]
        yield Row(what, "", (float(all_["speedup"]),), bar, "; ".join(map(_told, (one, all_))) + f"; 95% {_span(all_)}")
        if goal == PUBLISHED_GOAL:
            ratio = published_epochs / float(one["epochs"]) * float(all_["speedup"])
            yield Row(f"{what}, the one at the published rate", "", (ratio,), SOONER, f"{published_epochs:g} epochs")


def epochs_to(found: Analysis, accuracy: float) -> float:
    """Median of a run's trials of one worker."""
    there = found.reached[found.reached["accuracy"] == accuracy]
    return float(there["epochs"].median()) if len(there) else float("inf")


def _last(found: Analysis, nodes: int, policy: str) -> dict[int, float]:
    own = [index for index, said in found.settings.items() if said.get("variant") == policy]
    rows = found.trials[(found.trials["nodes"] == nodes) & found.trials["series"].isin(own)]
    return {int(row["repeat"]): 100 * float(row["validation_accuracy"]) for _, row in rows.iterrows()}


def _told(row: pd.Series) -> str:
    return f"{row['policy']} in {row['epochs']:g} epochs, {row['seconds']:.1f} s"


def _span(row: pd.Series) -> str:
    return f"{row['speedup_low']:.2f}-{row['speedup_high']:.2f}"


def _analysis(run: Path) -> Analysis:
    return analyse_run(load_run(RunPaths(run)))
