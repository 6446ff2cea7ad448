"""Run the best strategies for a few steps on the nodes, and say how far off what was expected of them is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.advise.question import Advice, Question
from harness.advise.ranking import Option, best_strategies, option_of
from harness.advise.strategies import Candidate, common_values, question
from harness.analysis.analysis import analyse_run
from harness.analysis.load import load_run
from harness.analysis.rates import steady_step_seconds
from harness.check.estimates import estimates
from harness.display import text
from harness.errors import BadInputError
from harness.experiment.declaration import Experiment, validate
from harness.experiment.parameter import Value
from harness.experiment.plan import trial_id
from harness.launch.code import code_of
from harness.launch.limits import Limits
from harness.nodes.inventory import Cluster
from harness.nodes.session import Session
from harness.results.run_paths import RunPaths
from harness.sweep.admit import admit
from harness.sweep.execute import execute
from harness.sweep.options import Policy, RunOptions
from harness.sweep.prepare import prepare

BEST = 3
"""So many strategies are tried."""
EPOCHS = 3
"""Of so many steps each; the first is not measured."""


@dataclass(frozen=True)
class Tried:
    """A strategy that was run, and a step of that run: expected, and measured (None where the trial failed)."""

    option: Option
    expected_seconds: float
    measured_seconds: float | None

    @property
    def off(self) -> float | None:
        """By what fraction of the expected step the measured one is longer; negative where it is shorter."""
        return None if self.measured_seconds is None else self.measured_seconds / self.expected_seconds - 1

    @property
    def epoch_seconds(self) -> float | None:
        """A whole epoch, if it is as far off."""
        return None if self.off is None else self.option.seconds.value * (1 + self.off)


@dataclass(frozen=True)
class TriedRun:
    """What was tried, in the order that was expected, and the run that it was tried in."""

    paths: RunPaths
    steps: int
    tried: tuple[Tried, ...]

    @property
    def failed(self) -> bool:
        """Whether a trial failed."""
        return any(each.measured_seconds is None for each in self.tried)

    def sentence(self) -> str:
        """How far off it was, and whether the quickest was the quickest."""
        known = [(each.epoch_seconds, each) for each in self.tried if each.epoch_seconds is not None]
        if not known:
            return "none of them could be run"
        _, best = min(known, key=lambda found: found[0])
        off = median(abs(each.off) for each in self.tried if each.off is not None)
        first = known[0][1]
        order = "as expected" if best is first else f"where {_called(first)} was expected"
        return f"measured, {_called(best)} is the quickest, {order}; seconds a step are off by {text.percent(off)} (median)"


def try_best(
    asked: Question, advice: Advice, cluster: Cluster, steps: int, results: Path, telemetry: float
) -> TriedRun:
    """Run the best strategies for EPOCHS times so many steps each, below `results`.

    Raises BadInputError where the nodes are not fit for them, or what they need is not known.
    """
    options = best_strategies(advice.options, BEST)
    expected = _expected(asked, advice, options, steps)
    experiment = short_run(asked, advice.batch, options, steps)
    run_options = RunOptions(Limits(), Policy(), telemetry, quiet=False)
    prepared = prepare(experiment, cluster, run_options, code_of(experiment.programs().values()))
    with Session(cluster) as session:
        run = execute(session, admit(session, prepared), results)
    measured = _measured(run.paths)
    tried = (
        Tried(option, seconds, measured.get(trial_id(option.nodes, 1, label, {})))
        for (label, option), seconds in zip(_labelled(options).items(), expected, strict=True)
    )
    return TriedRun(run.paths, steps, tuple(tried))


def short_run(asked: Question, batch: int, options: Sequence[Option], steps: int) -> Experiment:
    """The experiment that tries some options: a variant each, on its own number of nodes, in so few steps an epoch."""
    program = asked.program
    parameters = [{**each.candidate.strategy.settings, **_limit(asked, batch, each.nodes, steps)} for each in options]
    document = {
        "name": "advice",
        "description": f"The {len(options)} best strategies by harness advise, for a few steps.",
        "program": program.name,
        "parameters": {**{name: None for own in parameters for name in own}, **_common(asked)},
        "variants": {
            label: {"parameters": own, "nodes": [option.nodes]}
            for (label, option), own in zip(_labelled(options).items(), parameters, strict=True)
        },
        "axes": {"nodes": sorted({each.nodes for each in options})},
    }
    return validate(document, "advise", directory=program.directory)


def _expected(asked: Question, advice: Advice, options: Sequence[Option], steps: int) -> list[float]:
    """The expected seconds of a step of the short run, in which strategies that seldom meet may meet more often."""
    program = asked.program
    if program.estimator is None:
        raise BadInputError(f"{program.name} says no estimates", "docs/reference/programs.md: estimates, strategies")
    questions = [
        question(
            program,
            {**_common(asked), **each.candidate.strategy.settings, **_limit(asked, advice.batch, each.nodes, steps)},
            each.nodes,
            advice.machines.least_memory(each.nodes),
        )
        for each in options
    ]
    found = []
    for option, estimate in zip(options, estimates(program.estimator, questions), strict=True):
        if estimate.fault or not (estimate.traffic and estimate.steps):
            raise BadInputError(f"{option.name}: {estimate.fault or 'its steps are not known'}", estimate.remedy)
        short = Candidate(option.candidate.strategy, option.nodes, estimate)
        link = advice.machines.link
        found.append(option_of(short, advice.rates, advice.batch, link, advice.costs).step_seconds)
    return found


def _common(asked: Question) -> dict[str, Value]:
    """The parameters of all trials: those that are given, and what keeps a run short."""
    program = asked.program
    idle = {name: value for name, value in program.alone.items() if name not in program.control}
    return {**common_values(program, asked.values), **idle, **({program.epochs: EPOCHS} if program.epochs else {})}


def _limit(asked: Question, batch: int, nodes: int, steps: int) -> Mapping[str, Value]:
    return {asked.program.limit: batch * steps * nodes} if asked.program.limit else {}


def _labelled(options: Sequence[Option]) -> dict[str, Option]:
    """The options by the names of their variants."""
    words = (re.sub(r"[^a-z0-9]+", "_", each.name.lower()).strip("_") for each in options)
    return {f"best{number}_{word}": each for number, (word, each) in enumerate(zip(words, options, strict=True), 1)}


def _measured(paths: RunPaths) -> dict[str, float]:
    """By trial the seconds of a step, of those that did not fail."""
    trials = analyse_run(load_run(paths)).trials
    seconds = steady_step_seconds(trials)
    return {str(trial): float(value) for trial, value in zip(trials["trial"], seconds, strict=True) if value > 0}


def _called(tried: Tried) -> str:
    return f"{tried.option.name} on {text.nodes(tried.option.nodes)}"
