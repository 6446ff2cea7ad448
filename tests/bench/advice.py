"""How far off `harness advise` is: what it expects of every published way to share the work, against what was measured.

`python -m tests.bench.advice docs/results` reads the runs below that directory; it runs nothing. What a node takes alone is the
median of the independent nodes in the same run, at the same size: what a benchmark of the nodes would say. Everything else is
what `harness advise` states. Once more with two of its costs fitted to all models but the one that is judged, and once more
without a benchmark: what a node takes alone is then by the profile.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import yaml

from harness.advise.costs import Costs, stated_costs
from harness.advise.machines import Machines, assumed_rates
from harness.advise.ranking import option_of
from harness.advise.strategies import Candidate, Strategy, question
from harness.analysis.analysis import Analysis, analyse_run
from harness.analysis.load import load_run
from harness.analysis.rates import steady_step_seconds
from harness.analysis.series import show_value
from harness.check.estimates import Estimate, estimates
from harness.experiment.catalog import find_program
from harness.experiment.parameter import Value
from harness.experiment.rates import Rate
from harness.results.opening import open_run
from harness.virtual.cpu.profile import MEASURED_MODEL
from harness.virtual.link import Link, read_link
from tests.bench.row import Row, at_least, at_most

ERROR_PERCENT = 15.0
FIRST = 2
FOUND_PERCENT = 90.0
WAYS = 3
"""A choice between fewer is none: the best is always among the first two."""
UNLIKE = {
    "in_turns": "computing and sending in turns, by an engine without threads",
    "stock": "arrays are placed on servers by a bound that the harness does not choose",
}
"""Runs and variants whose environment makes them something else than what advice is for."""
_PROGRAM = "train.py"
_SAME = {"model": "", "batch_size": 64, "engine": "mxnet"}
"""What the independent nodes must have alike, with the program's defaults."""
_BYTE_SECONDS, _UNEVEN = np.linspace(0, 20e-9, 11), np.linspace(0, 0.4, 9)


@dataclass(frozen=True)
class Measured:
    """One way to train on so many nodes, as a run has it."""

    run: str
    nodes: int
    way: str
    values: Mapping[str, Value]
    step_seconds: float
    """Median over repeats."""
    alone_seconds: float
    """A step of the same nodes that train independently."""
    link: Link
    profile: str = "pi3"

    @property
    def model(self) -> str:
        """What is trained."""
        return str(self.values["model"])

    @property
    def batch(self) -> int:
        """A worker's images of a step."""
        return int(str(self.values.get("batch_size", _SAME["batch_size"])))

    @property
    def choice(self) -> tuple[str, str, int]:
        """Between the ways of the same run, model and size."""
        return self.run, self.model, self.nodes


@dataclass(frozen=True)
class Known:
    """What was measured, and what the program says of it."""

    measured: Measured
    estimate: Estimate
    profile_seconds: float = 0.0
    """What a node's step takes alone by its profile."""

    def by_profile(self) -> Known:
        """As if no node's step had been measured."""
        return replace(self, measured=replace(self.measured, alone_seconds=self.profile_seconds))

    def expected_seconds(self, costs: Costs) -> float:
        """A step, by `harness advise`."""
        it = self.measured
        rates = [Rate("", "", 0.0, it.alone_seconds / it.batch)] * it.nodes
        candidate = Candidate(Strategy(it.way, it.values), it.nodes, self.estimate)
        return option_of(candidate, rates, it.batch, it.link, costs).step_seconds


@dataclass(frozen=True)
class Compared:
    """What was measured, and what is expected."""

    measured: Measured
    expected_seconds: float

    @property
    def error(self) -> float:
        """Expected over measured, less 1."""
        return self.expected_seconds / self.measured.step_seconds - 1


def published(directory: Path) -> list[Known]:
    """All ways of the timed runs below a directory that have independent nodes beside them, where what they move is known."""
    found = [each for manifest in sorted(directory.glob("**/manifest.json")) for each in _of_run(manifest.parent)]
    program = find_program(_PROGRAM)
    if program.estimator is None:
        return []
    alike = [{name: each.values[name] for name in (*program.subject, *_SAME) if name in each.values} for each in found]
    reference: dict[str, Value] = {program.subject[0]: MEASURED_MODEL}
    questions = [question(program, {**values, **program.control}, 1, None) for values in (reference, *alike)]
    questions += [question(program, each.values, each.nodes, None) for each in found]
    known, *answers = estimates(program.estimator, questions)
    alone, together = answers[: len(found)], answers[len(found) :]
    return [
        Known(each, answer, _by_profile(each, one, known))
        for each, one, answer in zip(found, alone, together, strict=True)
        if answer.traffic and answer.steps
    ]


def _by_profile(measured: Measured, alone: Estimate, reference: Estimate) -> float:
    node = Machines(("",), (measured.profile,), (0,), measured.link, {})
    (rate,) = assumed_rates(node, alone.operations or 0.0, reference.operations or 1.0)
    return rate.step_seconds(measured.batch)


def compared(found: Sequence[Known], costs: Costs) -> list[Compared]:
    """What is expected of each by these costs. Pure."""
    return [Compared(each.measured, each.expected_seconds(costs)) for each in found]


def without_own(found: Sequence[Known], costs: Costs) -> list[Compared]:
    """What is expected of each model's ways by costs that are fitted to those of the others alone. Pure."""
    models = sorted({each.measured.model for each in found})
    own = {model: [each for each in found if each.measured.model == model] for model in models}
    others = {model: [each for each in found if each.measured.model != model] for model in models}
    return [each for model in models for each in compared(own[model], fitted(others[model], costs))]


def fitted(found: Sequence[Known], costs: Costs) -> Costs:
    """The costs with those of bytes and uneven links that are off the least, by the mean of absolute logarithms. Pure."""
    tried = [
        replace(costs, byte_seconds=float(byte), uneven=float(uneven))
        for byte, uneven in product(_BYTE_SECONDS, _UNEVEN)
    ]
    return min(tried, key=lambda each: sum(abs(np.log1p(one.error)) for one in compared(found, each)))


def rows(found: Sequence[Compared], by: str) -> Iterator[Row]:
    """The bars' lines, of what is expected by so called costs. Pure."""
    errors = [100 * abs(each.error) for each in found]
    yield Row(
        f"advise, {by}: seconds a step, off by (median)", "%", (median(errors),), at_most(ERROR_PERCENT),
        f"{len(errors)} measured, {sum(error <= ERROR_PERCENT for error in errors)} of them within {ERROR_PERCENT:.0f}%",
    )  # fmt: skip
    hits = [
        best_is_found(ways)
        for _, each in groupby(sorted(found, key=lambda one: one.measured.choice), key=lambda one: one.measured.choice)
        if len(ways := list(each)) >= WAYS
    ]
    yield Row(
        f"advise, {by}: the best strategy among its first {FIRST}", "%",
        (100 * sum(hits) / len(hits),) if hits else (), at_least(FOUND_PERCENT),
        f"{sum(hits)} of {len(hits)} choices between {WAYS} ways and more",
    )  # fmt: skip


def best_is_found(ways: Sequence[Compared]) -> bool:
    """Whether the quickest is among the first that are expected to be. Pure."""
    best = min(ways, key=lambda each: each.measured.step_seconds)
    return best in sorted(ways, key=lambda each: each.expected_seconds)[:FIRST]


def table(found: Sequence[Compared]) -> Iterator[str]:
    """A line a way. Pure."""
    yield "| run | model | nodes | way | alone, s | measured, s | expected, s | off |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for each in found:
        it = each.measured
        yield (
            f"| {it.run} | {it.model} | {it.nodes} | {it.way} | {it.alone_seconds:.3g} | {it.step_seconds:.3g} |"
            f" {each.expected_seconds:.3g} | {100 * each.error:+.0f}% |"
        )


def _of_run(run: Path) -> Iterator[Measured]:
    data = load_run(open_run(run))
    analysis = analyse_run(data)
    facts = analysis.facts
    if facts.program.name != _PROGRAM or not facts.cores_per_node or run.name in UNLIKE:
        return
    seconds, values = _seconds(analysis), _values(analysis, data.trials)
    alone = {
        (nodes, _alike(values[series])): step
        for (series, nodes), step in seconds.items()
        if analysis.series[series].control
    }
    for (series, nodes), step in seconds.items():
        way, key = analysis.series[series], (nodes, _alike(values[series]))
        if nodes > 1 and key in alone and not way.control and way.label not in UNLIKE:
            yield Measured(
                run.name, nodes, way.label, values[series], step, alone[key], read_link(facts.link), facts.profile
            )


def _seconds(analysis: Analysis) -> dict[tuple[int, int], float]:
    """By series and nodes, the median step."""
    trials = analysis.trials.assign(step=steady_step_seconds(analysis.trials)).dropna(subset=["step"])
    medians = trials.groupby(["series", "nodes"])["step"].median()
    return {(int(series), int(nodes)): float(step) for (series, nodes), step in medians.items()}


def _values(analysis: Analysis, trials: pd.DataFrame) -> dict[int, dict[str, Value]]:
    """By series the parameters of its trials that are set."""
    # A column of a role is the count of its ranks.
    declared = find_program(_PROGRAM).parameters or {}
    parameters = {name: each for name, each in declared.items() if each.passed and name in trials}
    first = trials.drop_duplicates("trial", keep="last").set_index("trial")
    found: dict[int, dict[str, Value]] = {}
    for trial, series in analysis.trials.drop_duplicates("series")[["trial", "series"]].itertuples(index=False):
        texts = {name: show_value(first.at[trial, name]) for name in parameters}
        found[int(series)] = {
            name: parameters[name].checked(yaml.safe_load(text)) for name, text in texts.items() if text
        }
    return found


def _alike(values: Mapping[str, Value]) -> tuple[Value, ...]:
    return tuple(values.get(name, default) for name, default in _SAME.items())


def main(directory: Path) -> None:
    """Print the table and the bars."""
    found, costs = published(directory), stated_costs()
    stated, profiles = compared(found, costs), [each.by_profile() for each in found]
    print("\n".join(table(stated)), "\n")
    judged = {
        "stated costs": stated,
        "the other models' costs": without_own(found, costs),
        "no benchmark": compared(profiles, costs),
    }
    for row in (row for name, each in judged.items() for row in rows(each, name)):
        held = "held" if row.held else "not held"
        print(f"{row.what}: {row.measured()}, {held}; {row.note}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
