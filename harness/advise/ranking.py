"""The strategies by how long an epoch takes, and the answer in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.advise.costs import Costs, steps_seconds, told_seconds, wire_seconds
from harness.advise.strategies import Asked, Candidate
from harness.check.estimates import Traffic
from harness.display import text
from harness.experiment.rates import Rate
from harness.predict.forecast import Range
from harness.virtual.link import Link

_WORTH = 1.1
"""So many times as fast must another way be to be named beside the best that computes the same."""
_OTHER = "but other mathematics"


@dataclass(frozen=True)
class Option:
    """A strategy on so many nodes, with what is expected of it."""

    candidate: Candidate
    seconds: Range
    """An epoch: its steps, and what is told at its end."""
    speedup: float
    """Against one node."""
    computing_seconds: float
    """A step of the slowest node."""
    wire_seconds: float
    """What nodes send where they meet takes so long on their links, or on their medium."""
    step_bytes: float
    """What a node sends a step, on average."""
    told_seconds: float = 0.0
    """Of an epoch, what is told at its end."""

    @property
    def name(self) -> str:
        """The strategy's."""
        return self.candidate.strategy.name

    @property
    def nodes(self) -> int:
        """How many train together."""
        return self.candidate.nodes

    @property
    def step_seconds(self) -> float:
        """A step of an epoch, on average."""
        return (self.seconds.value - self.told_seconds) / (self.candidate.estimate.steps or 1)

    @property
    def fits(self) -> bool:
        """Whether the nodes have the memory, as far as that is known."""
        memory = self.candidate.estimate.memory
        return memory is None or memory.fits

    @property
    def exact(self) -> bool:
        """Whether a step is that of one worker with all the batches."""
        moved = self.candidate.estimate.traffic
        return moved is not None and moved.exact

    @property
    def one_model(self) -> bool:
        """Whether one model comes of it."""
        moved = self.candidate.estimate.traffic
        return moved is not None and moved.one_model


def ranked(asked: Asked, rates: Sequence[Rate], batch: int, link: Link, costs: Costs) -> tuple[Option, ...]:
    """One node and all others, the quickest first; behind them what does not fit, and what trains no one model."""
    alone = option_of(asked.alone, rates, batch, link, costs)
    options = [
        alone,
        *(option_of(each, rates, batch, link, costs, alone) for each in asked.together),
    ]
    return tuple(sorted(options, key=lambda each: (not each.one_model, not each.fits, each.seconds.value, each.nodes)))


def usable(options: Sequence[Option]) -> list[Option]:
    """Those that train one model and fit, in the same order."""
    return [each for each in options if each.one_model and each.fits]


def shown(options: Sequence[Option], most: int) -> list[Option]:
    """One node, and of each strategy the most nodes and the number at which it is quickest; of what is the same the first."""
    found: dict[tuple[object, ...], Option] = {}
    best: dict[str, Option] = {}
    for each in options:
        quickest = best.setdefault(each.name, each)
        if each.nodes in (1, most) or each is quickest:
            found.setdefault(_costs_of(each), each)
    return list(found.values())


def best_strategies(options: Sequence[Option], most: int) -> list[Option]:
    """The quickest strategies in order, each on the nodes on which it is quickest, the advised one among them.

    Of what is the same the first counts.
    """
    take = advised(options)
    found = {take.name: take}
    seen = {_costs_of(take)}
    for each in usable(options):
        if len(found) < most and each.name not in found and _costs_of(each) not in seen:
            found[each.name] = each
            seen.add(_costs_of(each))
    return sorted(found.values(), key=lambda each: each.seconds.value)


def advised(options: Sequence[Option]) -> Option:
    """The quickest that computes what one worker would; another one only where all of these are slower than one node."""
    alone, known = _alone(options), usable(options)
    quicker = [each for each in known if not alone.fits or each.seconds.value < alone.seconds.value]
    return next((each for each in quicker if each.exact), quicker[0] if quicker else alone)


def sentence(options: Sequence[Option]) -> str:
    """The answer: what to do, how quick it is, and why."""
    take, alone, known = advised(options), _alone(options), usable(options)
    if take.exact and take is not alone:
        worth = known[0].speedup >= _WORTH * take.speedup
        why = "" if alone.fits else "one node has too little memory; "
        return f"{why}take {_told(take)} ({_step(take)}){f'; {_told(known[0])}, {_OTHER}' if worth else ''}"
    slow = next((each for each in known if each.exact and each is not alone), None)
    why = f"{text.nodes(slow.nodes)} that meet in every step are slower than one: {_step(slow)}; " if slow else ""
    if take is alone:
        return f"{why}train on one: {text.seconds(alone.seconds.value)} an epoch"
    return f"{why or 'take '}{_told(take)}, {_OTHER}"


def _alone(options: Sequence[Option]) -> Option:
    return next(each for each in options if each.nodes == 1)


def _costs_of(option: Option) -> tuple[object, ...]:
    """What is alike of options that are the same."""
    return option.nodes, option.seconds, option.step_bytes, option.exact, option.one_model


def _told(option: Option) -> str:
    return (
        f"{option.name} on {text.nodes(option.nodes)}: {text.seconds(option.seconds.value)} an epoch,"
        f" {text.number(option.speedup)} times as fast as one"
    )


def _step(option: Option) -> str:
    return f"a step computes {text.seconds(option.computing_seconds)} and moves {text.seconds(option.wire_seconds)}"


def option_of(
    candidate: Candidate, rates: Sequence[Rate], batch: int, link: Link, costs: Costs, alone: Option | None = None
) -> Option:
    """What is expected of a candidate; its speed-up is against `alone`, 1 without it.

    Raises ValueError where its program does not say what it moves, or its steps.
    """
    moved, steps = candidate.estimate.traffic, candidate.estimate.steps
    if moved is None or not steps:
        raise ValueError(f"{candidate.strategy.name}: its traffic or its steps are not known")
    computing = max(_computing(rate, batch, moved, candidate.estimate.fixed) for rate in rates[: candidate.nodes])
    trained = steps_seconds(computing, candidate.nodes, steps, moved, link, costs)
    told = told_seconds(moved, candidate.nodes, link, costs)
    seconds = Range(trained.value + told, trained.low + told, trained.high + told)
    return Option(
        candidate,
        seconds,
        alone.seconds.value / seconds.value if alone else 1.0,
        computing,
        wire_seconds(moved, candidate.nodes, link),
        (moved.sent_bytes * moved.meetings + moved.told_bytes) / steps,
        told,
    )


def _computing(rate: Rate, batch: int, moved: Traffic, fixed_share: float) -> float:
    """How long a node computes in a step; what of that is fixed is by its rate, where that says it."""
    whole = rate.step_seconds(batch)
    fixed = rate.fixed_seconds or fixed_share * whole
    return moved.images * (whole - fixed) + moved.fixed * fixed
