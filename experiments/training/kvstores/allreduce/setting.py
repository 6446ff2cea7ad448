"""What is asked of the allreduce store beside a rule's own parameters, and what of it goes together. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ...engines.normalisation import synchronised
from ...errors import ProgramError
from ...rules import Rule, cadence_of, chosen_rule
from ...rules.average import Average
from ...rules.common import Method
from ...rules.common.cadence import Cadence
from ..registration import FLOAT32, KVStoreOptions


@dataclass(frozen=True)
class Setting:
    """As the words say."""

    rule: type[Rule]
    method: Method
    wire: str
    cadence: Cadence
    delay: int
    """Steps for which a meeting is under way."""
    together: bool
    """Whether the workers normalise by all their images."""

    @classmethod
    def of(cls, options: KVStoreOptions) -> Setting:
        """As asked."""
        cadence = cadence_of(options.own, options.synchronise_every)
        return cls(
            chosen_rule(options.rule, cadence),
            Method.of(options.own),
            options.wire,
            cadence,
            options.own.get("meet_delay") or 0,
            synchronised(options.own),
        )

    def check(self) -> None:
        """Raise ProgramError where what is asked for does not go together."""
        if not self.cadence.always and not self.rule.local:
            raise ProgramError(
                f"the rule {self.rule.name} has the workers meet in every step",
                f"use --rule {Average.name}, or another one whose workers step alone, or have them meet in every step",
            )
        if self.delay and self.rule.accept is not Rule.accept:
            raise ProgramError(
                f"with the rule {self.rule.name} workers do not go on from the shared values, so a delay says nothing",
                f"leave --meet-delay out, or use --rule {Average.name}",
            )
        if self.delay and not self.cadence.leaves(self.delay):
            raise ProgramError(
                f"a meeting that is under way for {self.delay} more steps is not over when the next one begins",
                "use a smaller --meet-delay, or a --meet-every that is larger than it",
            )
        if self.together and not self.cadence.always:
            raise ProgramError(
                "workers that do not meet in every step have no batch together",
                "use --batch-statistics local, or have them meet in every step",
            )
        if self.rule.exact and self.wire != FLOAT32:
            raise ProgramError(
                f"values cannot be averaged as {self.wire}: they would lose what single steps change",
                "use --wire float32, or --synchronise-every 1",
            )
        if self.method.lars and not self.rule.local:
            raise ProgramError(
                f"LARS needs whole arrays, and with the rule {self.rule.name} a worker steps on slices of them",
                "use --rule average, or leave --lars out",
            )
