"""Workers that take a dead one's place while the others go on: which can, how often, and from where. Pure.

ps-lite gives a newcomer the dead worker's rank once that one's heartbeats are missing; whether a program can make use of it,
its workers say themselves (`ready`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from harness.contract import wire
from harness.contract.events import Event
from harness.launch.frameworks.base import Environment, Framework
from harness.launch.placement import Rank
from harness.launch.watch import Failure

_ONCE = 1
"""A start's scheduler survives no second newcomer: it never forgets the first and then finds one too many (van.cc:104)."""


@dataclass
class Replacements:
    """Of one start of a trial's ranks."""

    allowed: int
    finished: int = 0
    """Epochs that were done before this start."""
    made: list[Failure] = field(default_factory=list)
    """What happened to the workers that were replaced."""
    _epochs: dict[str, int] = field(default_factory=dict)
    _able: set[str] = field(default_factory=set)

    @staticmethod
    def environment_of(rank: Rank, framework: Framework) -> Environment:
        """What a rank is told beside its own environment, which has the last word."""
        return {**framework.replaceable(), **({wire.REPLACEABLE: "1"} if rank.finishes else {})}

    def event(self, worker: str, event: Event) -> None:
        """A worker printed an event."""
        if event.kind == wire.READY and event.values.get("replaceable") is True:
            self._able.add(worker)
        if event.kind == wire.EPOCH:
            self._epochs[worker] = int(event.number("epoch") or 0)
        if event.kind == wire.DONE:  # it may be counted at the last barrier already
            self._able.discard(worker)

    def successor(self, rank: Rank, failure: Failure) -> Rank | None:
        """The worker that takes the place of one that failed, after the epochs that one finished; None where none can."""
        if len(self.made) >= min(self.allowed, _ONCE) or not (failure.ended and rank.name in self._able):
            return None
        self.made.append(failure)
        self._able.discard(rank.name)  # until it is ready itself
        after = str(self._epochs.get(rank.name, self.finished))
        return replace(rank, environment={**rank.environment, wire.FOLLOWS_AFTER: after})
