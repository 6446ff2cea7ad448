"""Time to accuracy of two runs: what a step takes from one, how many steps an accuracy takes from another. Pure.

A run that measures time needs few steps and a clock that can be believed; one that measures accuracy needs whole epochs and no
clock at all. They are put together only where the mathematics is the same: the same program, nodes, variant and parameters,
but those that a step's time does not depend on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.analysis.analysis import Analysis
from harness.analysis.program import Program
from harness.analysis.rates import steady_step_seconds
from harness.analysis.series import Series
from harness.analysis.statistics.goals import Family, by_policy, goal_frame, headline_accuracies
from harness.analysis.statistics.intervals import Array, draw_medians, interval_of_draws
from harness.errors import BadInputError


def with_accuracy_of(timing: Analysis, accuracy: Analysis, name: str, target: float | None = None) -> Analysis:
    """The timing run's analysis with its time to accuracy from its steps and the other run's epochs.

    Args:
        timing: the run whose steps were timed.
        accuracy: the run whose epochs were validated.
        name: the other run's, in words.
        target: the accuracy that was asked for, a fraction of 1.

    Raises:
        BadInputError: the runs have no trials of the same training.
    """
    goals = combined_goals(timing, accuracy)
    note = (
        "Time to accuracy is put together from two runs: what a step took in this one, times the steps up to the first epoch "
        f"with the accuracy in {name}, of the same program, nodes and parameters. Validation is not in it."
    )
    if goals.empty:
        raise BadInputError(
            f"{name} has no trials of the same program, nodes and parameters as this run{_difference(timing, accuracy)}",
            "name a run with validation that differs only in its length and what a step's time does not depend on",
        )
    each = combined_goals(timing, replace(accuracy, families=by_policy(accuracy.families)))
    return replace(
        timing, goals=goals, policy_goals=each, headlines=headline_accuracies(goals, target), goals_note=note
    )


def _difference(timing: Analysis, accuracy: Analysis) -> str:
    """Where the first series of both differ, in words."""
    if not timing.subjects or not accuracy.subjects:
        return ""
    mine, theirs = (_compared(timing, accuracy, each) for each in (timing, accuracy))
    names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    said = [f"{name} is {mine.get(name, 'not set')} here, {theirs.get(name, 'not set')} there" for name in names]
    return f": {'; '.join(said)}" if said else ""


def _compared(timing: Analysis, accuracy: Analysis, whose: Analysis) -> dict[str, str]:
    return _fixed(whose.settings[whose.subjects[0].index], *_free(timing, accuracy))


def combined_goals(timing: Analysis, accuracy: Analysis) -> pd.DataFrame:
    """Seconds of training to each accuracy: steps of the accuracy run times seconds a step of the timing run.

    Validation is not in it. The intervals hold what the repeats of both runs differ by; ratios are of medians, for repeats of
    two runs are no neighbours in time.

    Args:
        timing: the run whose steps were timed.
        accuracy: the run whose epochs were validated.

    Returns:
        Frame as `goals.goal_table` gives it (float64; s, counts, fractions); empty where the runs have nothing in common.
    """
    rows: list[tuple[object, ...]] = []
    for label, timed in _timed(timing, accuracy):
        matching = [
            (family, members)
            for family in accuracy.families
            if (members := [other for other in family.members if _is_same(timing, timed[0], accuracy, other)])
        ]
        for family, members in matching:
            named = label if len(matching) == 1 else f"{label} \N{MIDDLE DOT} {family.label}"
            number = len({row[0] for row in rows})
            rows += [(number, named, *row) for row in _rows(_step_seconds(timing, timed), accuracy, family, members)]
    return goal_frame(rows)


def _timed(timing: Analysis, accuracy: Analysis) -> list[tuple[str, list[Series]]]:
    """The timed series by label; those that differ in nothing that a step's time depends on are one."""
    groups: dict[tuple[tuple[str, str], ...], list[Series]] = {}
    for one in timing.subjects:
        key = _fixed(timing.settings[one.index], *_free(timing, accuracy))
        groups.setdefault(tuple(sorted(key.items())), []).append(one)
    labels = {one.index: family.label for family in timing.families for one in family.members}
    return [(labels.get(group[0].index, group[0].label), group) for group in groups.values()]


def _rows(
    steps: Mapping[int, Array], accuracy: Analysis, family: Family, members: Sequence[Series]
) -> list[tuple[object, ...]]:
    """The columns of goals from `policy` on, a row an accuracy and cluster size."""
    policies = dict(zip((one.index for one in family.members), family.policies, strict=True))
    joined = accuracy.trials[["trial", "series", "nodes"]].merge(accuracy.reached, on="trial")
    found: list[tuple[object, ...]] = []
    for level, there in joined.groupby("accuracy"):
        base: tuple[int, float, Array] | None = None
        for nodes, seconds_a_step in steps.items():
            cells = []
            for one in members:
                at = there[(there["series"] == one.index) & (there["nodes"] == nodes)]
                if len(at):
                    seconds, draws = _product(seconds_a_step, at["steps"].to_numpy(float), nodes)
                    cells.append((seconds, draws, one, at, int(np.isfinite(at["steps"]).sum())))
            if not cells:
                continue
            # Epochs are whole, so several policies may take as long: then the one by which most trials were there counts.
            seconds, draws, one, at, reached = min(cells, key=lambda cell: (cell[0], -cell[4] / len(cell[3])))
            base = base or (nodes, seconds, draws)
            several = len(seconds_a_step) > 1 or len(at) > 1
            cell = (
                policies[one.index],
                one.index,
                nodes,
                base[0],
                level,
                len(at),
                reached,
                float(at["epochs"].median()),
            )
            low, high = interval_of_draws(draws) if several else (math.nan, math.nan)
            found.append((*cell, seconds, low, high, *_gain(base, nodes, seconds, draws, several=several)))
    return found


def _gain(
    base: tuple[int, float, Array], nodes: int, seconds: float, draws: Array, *, several: bool
) -> tuple[float, float, float]:
    if not (math.isfinite(seconds) and math.isfinite(base[1])):
        return (math.nan,) * 3
    if nodes == base[0] or not several:
        return base[1] / seconds, math.nan, math.nan
    with np.errstate(invalid="ignore"):
        return base[1] / seconds, *interval_of_draws(base[2] / draws)


def _step_seconds(timing: Analysis, timed: Sequence[Series]) -> dict[int, Array]:
    """By cluster size what a step took in each trial of some series, the first epoch left out."""
    rows = timing.trials[timing.trials["series"].isin([one.index for one in timed])]
    known = rows.assign(seconds=steady_step_seconds(rows)).dropna(subset=["seconds"])
    return {int(str(nodes)): there["seconds"].to_numpy(float) for nodes, there in known.groupby("nodes")}


def _product(step_seconds: Array, steps: Array, stream: int) -> tuple[float, Array]:
    draws = draw_medians(step_seconds, 2 * stream) * draw_medians(steps, 2 * stream + 1)
    return float(np.median(step_seconds) * np.median(steps)), draws


def _is_same(timing: Analysis, one: Series, accuracy: Analysis, other: Series) -> bool:
    """Whether two series of two runs do the same mathematics in a step."""
    program = timing.facts.program
    if program.name != accuracy.facts.program.name:
        return False
    free, policies = _free(timing, accuracy)
    return _fixed(timing.settings[one.index], free, policies) == _fixed(accuracy.settings[other.index], free, policies)


def _free(timing: Analysis, accuracy: Analysis) -> tuple[set[str | None], set[str]]:
    """The parameters that may differ, and the variants that are policies."""
    return free_parameters(timing.facts.program), {*timing.facts.policies, *accuracy.facts.policies}


def free_parameters(program: Program) -> set[str | None]:
    """What a step's time does not depend on: the parameters in which two runs of the same training may differ."""
    return {*program.untimed, program.epochs, program.limit, program.seed}


def _fixed(settings: Mapping[str, str], free: set[str | None], policies: set[str]) -> dict[str, str]:
    return {
        name: value
        for name, value in settings.items()
        if value and name not in free and not (name == "variant" and value in policies)
    }
