"""How many steps an accuracy takes, from the epochs of a run of the same training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.advise.ranking import Option, usable
from harness.advise.strategies import common_values
from harness.analysis.analysis import analyse_run
from harness.analysis.load import load_run
from harness.analysis.series import show_value
from harness.analysis.statistics.combined import free_parameters
from harness.errors import BadInputError
from harness.experiment.parameter import Value
from harness.experiment.program import Program
from harness.results.opening import open_run

_Key = tuple[int, frozenset[tuple[str, str]]]
"""Nodes, and the parameters that what a step does depends on."""


@dataclass(frozen=True)
class Curves:
    """The steps up to the first epoch with an accuracy, medians over a run's trials; infinite where most never reached it."""

    accuracy: float
    """A fraction of 1."""
    run: str
    steps: Mapping[tuple[str, int], float]
    """By name and nodes of an option; of the others no curve is known."""

    def seconds(self, option: Option, step_seconds: float | None = None) -> float | None:
        """How long the option trains up to the accuracy, as expected or by a measured step; None where that is not known."""
        steps = self.steps.get((option.name, option.nodes))
        return None if steps is None else steps * (option.step_seconds if step_seconds is None else step_seconds)

    def quickest(self, options: Sequence[Option]) -> tuple[float, Option] | None:
        """The least expected seconds to the accuracy, and whose; None where it was never reached."""
        known = [(self.seconds(each), each) for each in usable(options)]
        finite = [(seconds, each) for seconds, each in known if seconds is not None and seconds < math.inf]
        return min(finite, key=lambda found: found[0], default=None)


def known_curves(
    program: Program, values: Mapping[str, Value], options: Sequence[Option], run: Path, target: float | None
) -> Curves:
    """Of which options a run says the curve: those of which it has trials, the same as far as `report --accuracy-from` asks.

    Options whose step is that of one worker with all the batches have one curve. Raises BadInputError where the run cannot be
    read, has no accuracies, or none of the options.
    """
    paths = open_run(run)
    analysis = analyse_run(load_run(paths), target)
    if not analysis.headlines:
        raise BadInputError(
            f"{paths.root} has no accuracies: its trials were not validated",
            "name a run of whole epochs with validation",
        )
    accuracy = analysis.headlines[0]
    free = free_parameters(analysis.facts.program)
    placed = analysis.trials[["trial", "series", "nodes"]].merge(analysis.reached, on="trial")
    there = placed[placed["accuracy"] == accuracy]
    measured: dict[_Key, float] = {}
    if analysis.facts.program.name == program.name:
        for (series, nodes), rows in there.groupby(["series", "nodes"]):
            settings = analysis.settings[int(str(series))]
            key = int(str(nodes)), _compared(program, settings, free)
            # Several variants may train the same: the one that needs the fewest steps counts.
            measured[key] = min(float(rows["steps"].median()), measured.get(key, math.inf))
    common = common_values(program, values)
    found: dict[tuple[str, int], float] = {}
    exact: dict[int, float] = {}
    for each in usable(options):
        key = (each.nodes, _compared(program, {**common, **each.candidate.strategy.settings}, free))
        if key in measured:
            found[each.name, each.nodes] = measured[key]
            if each.exact:
                exact.setdefault(each.nodes, measured[key])
    found |= {
        (each.name, each.nodes): exact[each.nodes]
        for each in usable(options)
        if each.exact and each.nodes in exact and (each.name, each.nodes) not in found
    }
    if not found:
        raise BadInputError(
            f"{paths.root} has no trials of the same training on as many nodes as any of these",
            "name a run of this program, model, data set and batch, that was validated",
        )
    return Curves(accuracy, paths.root.name, found)


def _compared(program: Program, values: Mapping[str, Value], free: set[str | None]) -> frozenset[tuple[str, str]]:
    """The parameters that mean something, with defaults for those that are not set, as text."""
    given = {name: value for name, value in values.items() if value != "" and name in (program.parameters or {})}
    passed = program.passed(program.effective(given))
    shown = {
        name: show_value(value).lower() for name, value in passed.items() if name not in free and value is not None
    }
    return frozenset(shown.items())
