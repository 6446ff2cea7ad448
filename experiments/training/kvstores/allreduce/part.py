"""How one buffer of the model is kept in step: a rule, and a sum over the workers; what travels as factors lies behind that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...engines.base import Floats, Memory
from ...reporting.phases import BACKWARD, UPDATE
from ...rules import Rule
from .centre import Centre
from .exchange import Exchange
from .links import Links
from .sums import sum_over

_FIRST = 1 << 20
"""First values are told in pieces of so many."""


@dataclass(frozen=True)
class Step:
    """One step of training as all workers agree on it."""

    learning_rate: float
    meets: bool
    """Whether the workers meet in this step."""
    delay: int = 0
    """For how many more steps they go on before they take what comes of that."""


class Part:
    """One buffer: values, gradients, and where its exchange stands."""

    def __init__(
        self,
        values: Memory,
        gradients: Memory,
        rule: Rule,
        links: Links,
        channel: int,
        wire: str,
        size: int,
        *,
        apart: bool = False,
    ) -> None:
        """Takes worker 0's values. The buffer's first `size` elements are summed, and travel as `wire`; `apart`: what all share
        are not the worker's own values."""
        self._phases = links.phases
        self._values = values
        self._gradients = gradients
        self._rule = rule
        self._departed = False
        self._updated = False
        self._met = Step(0.0, meets=False)
        """The step of the last meeting."""
        self._age = 0
        """Steps begun since then."""
        self._offered = self._expected = False
        own = values.settled()
        self._summed = slice(0, size)
        self._sum = sum_over(links, channel, size, rule.merge, wire)
        for start in range(0, own.size, _FIRST):  # a large model has no memory for copies of itself
            piece = own[start : start + _FIRST]
            first = Exchange(links, channel, piece.size, np.float32)
            piece[:] = first.sum(piece if links.rank == 0 else np.zeros_like(piece))  # worker 0's: others add nothing
        self.centre = Centre(values, rule, size, apart=apart)

    def begin(self) -> None:
        """Another step."""
        self._departed = self._updated = False
        self._age += 1

    def depart(self, step: Step) -> None:
        """Step alone, where the rule does, and send what this worker offers; the part's backward is enqueued. Once a step."""
        if self._departed:
            return
        self._departed = True
        gradients = self._computed()
        if self._rule.local:
            self._rule.step(self._own(), gradients, step.learning_rate)
            self._phases.lap(UPDATE)
        if step.meets and gradients.size:
            self._offer(gradients, step)

    def update(self) -> None:
        """Collect what the others have for this worker, and send them what comes of it. Once a step, after `depart`.

        Of a delay's steps the first half is for what travels before this, the other one for what travels after it.
        """
        if self._updated:
            return
        self._updated = True
        if self._offered and self._age >= self._met.delay // 2:
            self._proceed()

    def arrive(self) -> None:
        """Take what the others made of it, unless there is still time: all values are then new."""
        if self._expected and self._age > self._met.delay:
            self._take()

    def settle(self) -> None:
        """End the meeting that is under way, without more delay."""
        if self._offered:
            self._proceed()
        if self._expected:
            self._take()

    def meet_now(self, learning_rate: float) -> None:
        """All of it at once, between steps."""
        self._values.settled()
        self._offer(self._gradients.settled()[self._summed], Step(learning_rate, meets=True))
        self.settle()

    def _proceed(self) -> None:
        self._offered, self._expected = False, True
        self._rule.meet(self._met.learning_rate)
        self._sum.proceed(self.centre.idle())

    def _take(self) -> None:
        self._expected = False
        self._sum.finish(self.centre.idle())
        self.centre.take()

    def _own(self) -> Floats:
        return self._values.idle()[self._summed]

    def _offer(self, gradients: Floats, step: Step) -> None:
        self._met, self._age, self._offered = step, 0, True
        if step.delay:
            self.centre.remember()
        offered = self._rule.offer(self._own(), gradients)
        if offered is not gradients:
            self._phases.lap(UPDATE)
        self._sum.begin(offered)

    def _computed(self) -> Floats:
        """The gradients, once backward has ended: with a threaded engine it may go on until here."""
        gradients = self._gradients.settled()[self._summed]
        self._values.settled()
        self._phases.compute(BACKWARD)
        return gradients
