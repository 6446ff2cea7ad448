"""The ways to train together that a program declares, and what it says of each: bytes, steps, memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from harness.advise.machines import Machines
from harness.check.estimates import Estimate, Question, estimates
from harness.check.memory import megabytes, ways_out
from harness.errors import BadInputError
from harness.experiment.parameter import Value
from harness.experiment.plan import arguments
from harness.experiment.program import Program

ONE_NODE = "one node"
_LIKE = 0.4
"""How alike a word must be to be offered, of 1."""
_FIELD = re.compile(r"\{([a-z][a-z0-9_]*)\}")

Values = Mapping[str, Value]


@dataclass(frozen=True)
class Strategy:
    """One way, by its name; `settings` are the parameters that choose it."""

    name: str
    settings: Values


@dataclass(frozen=True)
class Candidate:
    """A strategy on the first so many nodes, and what the program says of it."""

    strategy: Strategy
    nodes: int
    estimate: Estimate


@dataclass(frozen=True)
class Asked:
    """What a program said of all strategies and numbers of nodes."""

    alone: Candidate
    """One node, which meets nobody."""
    together: tuple[Candidate, ...]
    measured_operations: float
    """Of the model that the profiles of boards are made for."""
    left_out: Mapping[str, str]
    """By name strategies that these parameters do not allow, and why."""


def strategies_of(program: Program, values: Values) -> list[Strategy]:
    """The program's strategies with the user's own value where he gave one for a parameter that they set."""
    found = []
    for name, settings in program.strategies.items():
        own = {parameter: values.get(parameter, value) for parameter, value in settings.items()}
        found.append(Strategy(_named(name, own), own))
    return found


def common_values(program: Program, values: Values) -> dict[str, Value]:
    """The parameters that hold for all strategies: those that none sets."""
    own = {name for settings in program.strategies.values() for name in settings}
    return {name: value for name, value in values.items() if name not in own}


def ask(program: Program, values: Values, machines: Machines, measured: Values) -> Asked:
    """Ask the program of every strategy on one node to all; `measured` are the values of what profiles are made for.

    Raises BadInputError for a program without strategies, for parameters that are contradictory, and where the nodes lack the
    memory for all of them.
    """
    estimator = program.estimator
    if estimator is None or not program.strategies:
        raise BadInputError(
            f"{program.name} declares no strategies to compare", "docs/reference/programs.md: estimates, strategies"
        )
    common = common_values(program, values)
    left_out: dict[str, str] = {}
    alone = Strategy(ONE_NODE, program.control)
    wanted = [(alone, 1)]
    for strategy in strategies_of(program, values):
        if misplaced := program.misplaced({**common, **strategy.settings}):
            left_out[strategy.name] = ": ".join(misplaced)
        else:
            wanted += [(strategy, nodes) for nodes in range(2, len(machines.names) + 1)]
    questions = [
        question(program, {**common, **strategy.settings}, nodes, machines.least_memory(nodes))
        for strategy, nodes in wanted
    ]
    reference, *answers = estimates(estimator, [question(program, measured, 1, None), *questions])
    first, *others = (
        Candidate(strategy, nodes, answer) for (strategy, nodes), answer in zip(wanted, answers, strict=True)
    )
    _require_estimate(first.estimate, estimator)
    known = tuple(each for each in others if each.estimate.traffic and each.estimate.steps)
    _require_memory(
        [first, *(each for each in known if each.estimate.traffic and each.estimate.traffic.one_model)], machines
    )
    faults = {each.strategy.name: each.estimate.fault or "what it moves is not known" for each in others}
    left_out |= {name: why for name, why in faults.items() if name not in {each.strategy.name for each in known}}
    return Asked(first, known, reference.operations or 0.0, left_out)


def question(program: Program, values: Values, nodes: int, memory_bytes: int | None) -> Question:
    """What to ask of a trial with these parameters on so many nodes."""
    roles = program.roles_of(values)
    counts = {name: (program.count_of(role, values), role.on == "first") for name, role in roles.items()}
    ranks = {name: count if count is not None else 1 if first else nodes for name, (count, first) in counts.items()}
    return Question(tuple(arguments(program.passed(values))), ranks, memory_bytes)


def _require_estimate(alone: Estimate, estimator: Path) -> None:
    """Raise BadInputError where the program cannot say what an epoch of one node is."""
    if alone.fault:
        raise BadInputError(alone.fault, alone.remedy)
    if not (alone.steps and alone.operations and alone.traffic):
        raise BadInputError(
            f"{estimator} does not say the steps, operations and traffic of one node", "let it say them"
        )


def _require_memory(candidates: Sequence[Candidate], machines: Machines) -> None:
    """Raise BadInputError where none fits, with what would fit one node, the first."""
    fitting = (not (memory := each.estimate.memory) or memory.fits for each in candidates)
    if any(fitting):
        return
    alone = candidates[0].estimate
    ways = ways_out(alone)
    raise BadInputError(
        f"{alone.memory.text if alone.memory else ''}, and {machines.names[0]} has {megabytes(machines.least_memory(1))}",
        f"use {ways}" if ways else "choose a smaller model, or nodes with more memory",
    )


def checked_subject(program: Program, words: Sequence[str]) -> dict[str, Value]:
    """The parameters that say what is trained, with these values. Raises BadInputError, with the nearest name there is."""
    subject: dict[str, Value] = {}
    for name, word in zip(program.subject, words, strict=True):
        try:
            subject[name] = program.check(name, word)
        except ValueError:
            choices = [str(choice) for choice in (program.parameters or {})[name].choices]
            raise BadInputError(
                f"there is no {name} {word}", f"{nearest(word, choices)}one of: {', '.join(choices)}"
            ) from None
    return subject


def nearest(word: str, choices: Sequence[str]) -> str:
    """`resnet20? or `, where a choice is like the word; else nothing."""
    found = get_close_matches(word.lower(), choices, 1, _LIKE)
    return f"{found[0]}? or " if found else ""


def _named(name: str, values: Values) -> str:
    """A strategy's name with the values that stand in braces."""
    return _FIELD.sub(lambda match: str(values.get(match[1], match[0])), name)
