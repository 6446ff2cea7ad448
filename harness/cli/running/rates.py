"""What plan and sweep make of the rates that `benchmark` measured."""

from __future__ import annotations

from pathlib import Path

from harness.console import err
from harness.experiment.declaration import Experiment, by_rate
from harness.experiment.rates import Rates
from harness.sweep.benchmark import load_rates, unlike


def with_rates(path: Path | None, declared: Experiment) -> tuple[Experiment, Rates | None]:
    """The experiment with batches by the rates of `path`, and these rates; unchanged, and none, where there is no path."""
    if path is None:
        return declared, None
    rates = load_rates(path)
    if other := unlike(rates, declared):
        err.print(f"warning: the rates are those of {other}", style="yellow", soft_wrap=True)
    return by_rate(declared), rates
