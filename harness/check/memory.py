"""Whether trials can be by their programs' word, and their nodes have the memory for them; what nobody knows is not judged."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from harness.check.estimates import Estimate, Question, estimates
from harness.errors import BadInputError
from harness.experiment.parameter import Value
from harness.experiment.plan import Trial, arguments
from harness.experiment.rates import Rates
from harness.launch.placement import Placement, SentCode, place_trial
from harness.nodes.inventory import Cluster, Node

_MEGABYTE = 1_000_000


def placed_within_memory(
    trials: Iterable[Trial], cluster: Cluster, code: SentCode, rates: Rates | None
) -> tuple[Placement, ...]:
    """Every trial, placed once. Raises BadInputError where one cannot be placed, needs more memory than its nodes have, or
    cannot be by its program's word."""
    placements = tuple(
        place_trial(trial, cluster.first(trial.nodes), cluster.port, code, "", rates, cluster) for trial in trials
    )
    require_memory(placements)
    return placements


def require_memory(placements: Iterable[Placement], completed: Callable[[Node], Node] | None = None) -> None:
    """Raise BadInputError where a trial's program says that it cannot be, and where it needs more memory than one of its nodes
    has: of several trials the one that lacks most.

    `completed` adds to a node what it said itself: given that, only nodes are judged of which the inventory does not say it.
    Programs that say nothing of a trial before it starts are taken as they are.
    """
    asked: dict[Path, list[tuple[Placement, Node, Question]]] = {}
    for placement in placements:
        estimator, node = placement.trial.program.estimator, _least(placement, completed)
        if estimator and node:
            asked.setdefault(estimator, []).append((placement, node, _question(placement, node)))
    answered = [
        (placement, node, answer)
        for estimator, each in asked.items()
        for (placement, node, _), answer in zip(each, _answers(estimator, [one for *_, one in each]), strict=True)
    ]
    for placement, _, answer in answered:
        if answer.fault:
            raise BadInputError(f"trial {placement.trial.id}: {answer.fault}", answer.remedy)
    lacking = [each for each in answered if each[2].memory and not each[2].memory.fits and each[1].memory_bytes]
    if lacking:
        raise _refused(lacking)


def ways_out(answer: Estimate) -> str:
    """What to set instead of what does not fit, as options of the command line; empty where nothing would."""
    ways = answer.memory.instead if answer.memory else ()
    return ", or ".join(map(setting_words, ways))


def setting_words(values: Mapping[str, Value]) -> str:
    """Parameters with values as options of the command line."""
    return " ".join(f"--set {name}={_shown(value)}" for name, value in values.items())


def megabytes(count: int) -> str:
    """`1073 MB`."""
    return f"{count // _MEGABYTE} MB"


def _refused(lacking: list[tuple[Placement, Node, Estimate]]) -> BadInputError:
    def shortage(each: tuple[Placement, Node, Estimate]) -> int:
        _, node, answer = each
        return (answer.memory.nbytes if answer.memory else 0) - (node.memory_bytes or 0)

    placement, node, answer = max(lacking, key=shortage)
    others = {other.trial.id for other, *_ in lacking} - {placement.trial.id}
    more = f" (nor do {len(others)} more fit)" if others else ""
    need = answer.memory.text if answer.memory else ""
    ways = ways_out(answer)
    return BadInputError(
        f"trial {placement.trial.id}: {need}, and {node.name} has {megabytes(node.memory_bytes or 0)}{more}",
        f"use {ways}" if ways else "choose something smaller, or nodes with more memory",
    )


def _least(placement: Placement, completed: Callable[[Node], Node] | None) -> Node | None:
    """Of the nodes of the ranks that finish the one with the least memory, or any where it is known of none; None where none is
    to be judged."""
    nodes = [rank.node for rank in placement.finishing]
    if completed:
        nodes = [completed(node) for node in nodes if node.memory_bytes is None]
    return min(nodes, key=lambda node: node.memory_bytes or math.inf, default=None)


def _question(placement: Placement, node: Node) -> Question:
    """Without the seed, which changes with every repeat and needs no memory."""
    program = placement.trial.program
    passed = {name: value for name, value in program.passed(placement.trial.parameters).items() if name != program.seed}
    return Question(tuple(arguments(passed)), dict(Counter(rank.role for rank in placement.ranks)), node.memory_bytes)


def _answers(estimator: Path, questions: list[Question]) -> list[Estimate]:
    """The answers; what repeats ask again is asked once."""
    texts = [repr(question) for question in questions]
    once = dict(zip(texts, questions, strict=True))
    found = dict(zip(once, estimates(estimator, list(once.values())), strict=True))
    return [found[text] for text in texts]


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
