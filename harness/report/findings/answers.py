"""How time and accuracy changed with the nodes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from harness.analysis.analysis import Analysis
from harness.analysis.measures import BASES, speedup_basis
from harness.analysis.series import Series
from harness.analysis.statistics.efficiency import reason_above
from harness.analysis.statistics.intervals import estimate_of
from harness.display import text
from harness.report.findings.compared import spread
from harness.report.findings.ends import Ends, count

_SHOWN = {"epoch_seconds": text.seconds, "total_seconds": text.seconds, "images_per_second": text.number}


def answered(analysis: Analysis, one: Series) -> Iterator[str]:
    """Sentences on one series."""
    ends = Ends.of(analysis.points_of(one))
    last, basis = ends.last, speedup_basis(analysis.trials)
    name, show = f"the {BASES[basis]}", _SHOWN[basis]
    independent = analysis.efficiency_basis == "independent"
    told = "" if independent or math.isnan(last["efficiency"]) else f", efficiency {_efficiency(analysis, last)}"
    if ends.differ:
        yield (
            f"From {ends.first['nodes']:.0f} to {ends.at_last} {name} {ends.moved(basis, show)}: "
            f"speed-up {text.ratio(last['speedup'])}{_interval(last, 'speedup')}{told}."
        )
        if basis == "epoch_seconds" and ends.known("total_seconds"):
            yield f"A whole trial, start-up included, {ends.moved('total_seconds', text.seconds)}."
    else:
        yield f"Only {ends.at_last} was measured: {name} was {show(last[basis])}; a speed-up needs a second size."
    yield from _accuracy(analysis, ends)
    if not one.control and last["wait_share"] > 0:
        yield f"At {ends.at_last} a worker waited for the store in {text.percent(last['wait_share'])} of the epoch's time."
    if independent and not math.isnan(last["efficiency"]):
        yield (
            f"At {ends.at_last} efficiency was {_efficiency(analysis, last)}: the images per second over those of the "
            "same nodes training independently."
        )


def _efficiency(analysis: Analysis, row: pd.Series) -> str:
    reason = reason_above(analysis, row)
    return text.percent(row["efficiency"]) + (f" (above 100%: {reason})" if reason else "")


def _interval(row: pd.Series, metric: str) -> str:
    return spread(estimate_of(row, metric), text.ratio)


def _accuracy(analysis: Analysis, ends: Ends) -> Iterator[str]:
    last = ends.last
    if not ends.known("validation_accuracy"):
        return
    epochs = "" if math.isnan(last["epochs"]) else f" after {count(last['epochs'], 'epoch')}"
    if not ends.differ:
        yield f"Validation accuracy{epochs} was {text.accuracy(last['validation_accuracy'])}."
        return
    yield f"Validation accuracy{epochs} {ends.moved('validation_accuracy', text.accuracy)}."
    if analysis.target is not None and ends.known("target_seconds"):
        goal = text.percent(analysis.target.accuracy, 1)
        yield f"Time to {goal} validation accuracy {ends.moved('target_seconds', text.seconds)}."
