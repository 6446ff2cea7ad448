"""Whether virtual nodes compute at one speed: however many there are, however long they wait, whatever runs beside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd

from harness.paths import EXPERIMENTS
from harness.results.run_paths import RunPaths
from tests.bench.measures import Rate, Series, read_series
from tests.bench.row import Bar, Row, at_least, at_most
from tests.bench.stage import Stage, settings

EXPERIMENT = EXPERIMENTS / "scaling.yaml"
EXCHANGED, ALONE = "allreduce", "none"
STEPS, QUICK_STEPS = 20, 8
EPOCHS = {EXCHANGED: 3, ALONE: 6}
# An exchange under the computing would hide a part of what is to be compared.
IN_TURNS = {EXCHANGED: ("--env", "MXNET_ENGINE_TYPE=NaiveEngine"), ALONE: ()}
SAME_COMPUTE, SAME_SUM = 0.05, 0.03
BESIDE = 2


def measure(stage: Stage) -> Iterator[Row]:
    """Train on one node and on all, synchronised and not, then on all with processes beside that do nothing but compute."""
    sizes = (1, stage.nodes)
    exchanged, alone = ({size: _rates(stage, kvstore, size) for size in sizes} for kvstore in (EXCHANGED, ALONE))
    with spinning(BESIDE):
        busy = _rates(stage, EXCHANGED, stage.nodes, into="one_speed_busy")
    yield from rows(stage.nodes, exchanged, alone, busy, _suspect(stage))


def rows(
    nodes: int, exchanged: dict[int, Series], alone: dict[int, Series], busy: Series, suspect: bool
) -> Iterator[Row]:
    """The table's lines; pure."""
    yield Row(f"computing of a step, {nodes} nodes / 1", "", *_within(exchanged, nodes, SAME_COMPUTE))
    sums = [
        abs(exchanged_rate / (nodes * one) - 1)
        for one, exchanged_rate in zip(
            alone[1].images_per_second.values(), alone[nodes].images_per_second.values(), strict=False
        )
    ]
    yield Row(f"{nodes} nodes that only compute: off {nodes} times one", "", sums, at_most(SAME_SUM))
    off = [
        abs(compute(disturbed) / compute(calm) - 1)
        for calm, disturbed in zip(exchanged[nodes].rates.values(), busy.rates.values(), strict=False)
    ]
    note = "the trial is marked suspect" if suspect else ""
    yield Row(
        f"computing with {BESIDE} busy processes beside: off", "", off, None if suspect else at_most(SAME_COMPUTE), note
    )


def compute(rate: Rate) -> float:
    """Seconds of a step that are computing."""
    return rate.phases["forward"] + rate.phases["backward"]


def _within(series: dict[int, Series], nodes: int, tolerance: float) -> tuple[list[float], Bar, str]:
    ratios = [
        compute(many) / compute(one)
        for one, many in zip(series[1].rates.values(), series[nodes].rates.values(), strict=False)
    ]
    least = [min(ratio, 1 / ratio) for ratio in ratios]
    return (
        least,
        at_least(1 - tolerance),
        "the smaller of the ratio and its inverse; ratios " + " ".join(f"{r:.3f}" for r in ratios),
    )


def _rates(stage: Stage, kvstore: str, nodes: int, into: str = "one_speed") -> Series:
    steps = QUICK_STEPS if stage.quick else STEPS
    chosen = ("--nodes", str(nodes), "--repeats", str(stage.repeats), "--variant", "epochs_4", *IN_TURNS[kvstore])
    words = settings(kvstore=kvstore, epoch_steps=steps, epochs=EPOCHS[kvstore], validation="false")
    run, _ = stage.sweep(EXPERIMENT, *chosen, *words, into=into)
    return next(iter(read_series(run).values()))


def _suspect(stage: Stage) -> bool:
    latest = stage.output / "one_speed_busy" / EXPERIMENT.stem / "latest"
    return bool((pd.read_csv(RunPaths(latest.resolve()).trials)["status"] == "suspect").any())


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """So many processes that do nothing but compute beside what is measured."""
    spinners = [subprocess.Popen([sys.executable, "-I", "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
