"""The numbers of runs side by side, each with its interval, and its ratio to the first run's; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.analysis import Analysis
from harness.analysis.series import Series
from harness.analysis.statistics.intervals import Array, Estimate, estimate, ratio

METRICS = (
    "total_seconds",
    "epoch_seconds",
    "images_per_second",
    "validation_accuracy",
    "target_seconds",
    "epoch_joules",
    "images_per_joule",
)
"""What is compared; energy of runs whose power is known."""

_UNMEASURED = {"estimate": "an estimate", "declared": "declared"}


@dataclass(frozen=True)
class Compared:
    """One number of one run: a median over repeats, and its ratio to the first run's."""

    run: str
    series: str
    nodes: int
    metric: str
    trials: int
    value: Estimate
    ratio: Estimate

    @property
    def differs(self) -> bool:
        """Whether the ratio's interval leaves 1 out; never where it is not known."""
        return self.ratio.has_interval and not self.ratio.low <= 1 <= self.ratio.high


def compared(names: Sequence[str], analyses: Sequence[Analysis]) -> list[Compared]:
    """Every number that at least two runs have, by series, nodes and metric, in the order of the runs.

    Series are alike where they have one label; where every run has one alone, they are compared whatever they are called.
    """
    alone = all(len(one.subjects) == 1 for one in analyses)
    labels = [""] if alone else list(dict.fromkeys(each.label for one in analyses for each in one.subjects))
    return [row for label in labels for row in _of_series(label, names, analyses)]


def energy_sources(names: Sequence[str], analyses: Sequence[Analysis]) -> list[str]:
    """Of which runs the energy was not measured, or not all of it: a sentence each."""
    found = []
    for name, analysis in zip(names, analyses, strict=True):
        said = [_UNMEASURED[source] for source in analysis.energy.sources if source in _UNMEASURED]
        if said and analysis.energy.is_known:
            partly = "partly " if "meter" in analysis.energy.sources else ""
            found.append(f"energy of {name}: {partly}{' and '.join(said)}, not measured")
    return found


def _of_series(label: str, names: Sequence[str], analyses: Sequence[Analysis]) -> Iterator[Compared]:
    found = [_series(one, label) for one in analyses]
    sizes = sorted(
        {int(size) for one, each in zip(analyses, found, strict=True) if each for size in one.trials_of(each)["nodes"]}
    )
    for nodes in sizes:
        for metric in METRICS:
            values = [
                _values(one, each, nodes, metric) if each else np.array([])
                for one, each in zip(analyses, found, strict=True)
            ]
            if sum(len(each) > 0 for each in values) < 2:
                continue
            base = next(each for each in values if len(each))
            for name, own in zip(names, values, strict=True):
                if len(own):
                    same = own is base
                    over = Estimate(1.0) if same else _ratio(own, base)
                    yield Compared(name, label, nodes, metric, len(own), estimate(own), over)


def _series(analysis: Analysis, label: str) -> Series | None:
    """The run's series of a label, or its only one where there is none to be told apart."""
    return next((each for each in analysis.subjects if not label or each.label == label), None)


def _values(analysis: Analysis, one: Series, nodes: int, metric: str) -> Array:
    trials = analysis.trials_of(one)
    values = trials[trials["nodes"] == nodes][metric].to_numpy(dtype=float)
    kept: Array = values[np.isfinite(values)]
    return kept


def _ratio(upper: Array, lower: Array) -> Estimate:
    """The ratio of medians. Repeats of two runs are no neighbours in time, so none is paired with another."""
    return ratio(
        {float(number): float(value) for number, value in enumerate(upper)},
        {-1.0 - number: float(value) for number, value in enumerate(lower)},
    )
