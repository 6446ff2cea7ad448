"""Cadence: in which steps the workers meet. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import ProgramError

STEPS, EPOCH, ONCE, POST_LOCAL = "steps", "epoch", "once", "post_local"
CADENCES = (STEPS, EPOCH, ONCE, POST_LOCAL)
"""Values of `--cadence`: every so many steps; at every epoch's end; at the run's end; in every step first, then every so
many."""

OPTIONS = ("synchronise_every", "cadence", "meet_every", "meet_always_for", "meet_delay")
"""The program's parameters that say when."""


class Cadence:
    """They meet in every `every`-th step; a meeting between steps begins the count again."""

    def __init__(self, every: int | None, *, at_epochs: bool = True, always_for: int = 0) -> None:
        """`every` None: not within epochs. `always_for`: so many first steps of the run in every one of which they meet."""
        self._every = every
        self._always_for = always_for
        self._steps = 0
        self._alone = 0
        self.at_epochs = at_epochs
        """Whether they meet at an epoch's end too, if they have not just met. At the run's end they always do."""

    @property
    def alone(self) -> int:
        """Steps since the workers met."""
        return self._alone

    @property
    def every_step(self) -> bool:
        """Whether they meet in every step at this stage of the run."""
        return self.always or self._steps <= self._always_for

    def leaves(self, steps: int) -> bool:
        """Whether so many steps lie between two meetings that are counted by steps over epochs."""
        return self._every is not None and not self.at_epochs and steps < self._every

    @property
    def always(self) -> bool:
        """Whether they meet in every step."""
        return self._every == 1

    def meetings(self, steps: int, epochs: int) -> float:
        """How often they meet in an epoch of so many steps, on average over a run of so many epochs."""
        if self._every is None:
            return 1.0 if self.at_epochs else 1 / epochs
        if self.at_epochs:
            return float(-(-steps // self._every))
        always = min(self._always_for, steps * epochs)
        return (always - (always - steps * epochs) // self._every) / epochs

    def advance(self) -> bool:
        """Count a step; whether the workers meet in it."""
        self._steps += 1
        self._alone += 1
        return self._steps <= self._always_for or self._alone == self._every

    def met(self) -> None:
        """The workers have met."""
        self._alone = 0

    def save(self) -> npt.NDArray[np.int64]:
        """Where the count stands.

        Returns:
            (two,) int64, counts: steps of the run, and steps since the workers met.
        """
        return np.array([self._steps, self._alone], np.int64)

    def restore(self, counts: npt.NDArray[np.int64]) -> None:
        """Go on counting.

        Args:
            counts: (two,) int64, counts, as `save` gives.
        """
        self._steps, self._alone = (int(count) for count in counts)

    def __repr__(self) -> str:
        return f"Cadence({self._every}, at_epochs={self.at_epochs}, always_for={self._always_for})"


def cadence_of(own: Mapping[str, Any], synchronise_every: int = 1) -> Cadence:
    """The cadence that the program's parameters say. Raises ProgramError where they contradict each other.

    `synchronise_every` counts within an epoch and has the workers meet at its end; `meet_every` counts over epochs.
    """
    kind, every = own.get("cadence", STEPS), own.get("meet_every")
    if synchronise_every > 1 and (every is not None or kind != STEPS):
        raise ProgramError(
            "synchronise_every is a cadence of its own, and another one is asked for",
            "leave --synchronise-every out: --meet-every counts steps over epochs",
        )
    if every is not None and kind in (EPOCH, ONCE):
        raise ProgramError(
            f"with the cadence {kind} no steps are counted", "leave --meet-every out, or use --cadence steps"
        )
    if kind == EPOCH:
        return Cadence(None)
    if kind == ONCE:
        return Cadence(None, at_epochs=False)
    if kind == POST_LOCAL:
        return Cadence(every or 1, at_epochs=False, always_for=own.get("meet_always_for") or 0)
    return Cadence(synchronise_every) if every is None else Cadence(every, at_epochs=every == 1)
