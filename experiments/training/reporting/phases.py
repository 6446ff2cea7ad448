"""Where the time of a worker's training goes: a stopwatch whose laps have names. They are disjoint by construction."""

from __future__ import annotations

import time
from collections.abc import Collection

from contract import wire

DATA, FORWARD, BACKWARD, PUSH, WAIT, PULL, UPDATE = PHASES = wire.PHASES
"""Gathering and handing over batches; the model's two passes; handing gradients over; standing still for others;
taking what came; applying it."""

SAMPLED_STEPS = 20
"""Where MXNet's engine has threads, one step in so many is taken apart."""


class Phases:
    """Seconds since `restart`, by phase: each call of `lap` gives a phase the time since the call before.

    With a threaded engine, wall time between calls says nothing of forward, backward and update: Python only enqueues them.
    Their time is then known as one lump, and a few steps in which the program waits at the end of each (`sampled`) say in
    which proportion the lump is theirs: by their medians, since a thread that is woken late makes a short phase long.
    `hidden` are phases that cannot be told apart from others at all.
    """

    def __init__(self, *, in_turns: bool, hidden: Collection[str] = ()) -> None:
        self.in_turns = in_turns
        self._hidden = frozenset(hidden)
        self.restart()

    def restart(self) -> None:
        """Begin at zero."""
        self.sampled = False
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._samples: list[dict[str, float]] = []
        self._lump = 0.0
        self._last = time.perf_counter()

    def begin_step(self, step: int, steps: int) -> bool:
        """Whether the program is to wait at the end of each phase of this step (from 0) of so many; `sampled` until the next.

        Not the first: that one has to itself what is done only once.
        """
        self.sampled = not self.in_turns and step % SAMPLED_STEPS == min(1, steps - 1)
        if self.sampled:
            self._samples.append(dict.fromkeys(PHASES, 0.0))
        return self.sampled

    def lap(self, phase: str) -> None:
        """The time since the last call was `phase`'s."""
        self._seconds[phase] += self._elapsed()

    def compute(self, phase: str) -> None:
        """As `lap`, for what MXNet's engine does."""
        if self.in_turns:
            self._seconds[phase] += self._elapsed()
        elif self.sampled:
            self._samples[-1][phase] += self._elapsed()
        else:
            self._lump += self._elapsed()

    def rest(self) -> None:
        """The time since the last call was no phase's; a threaded engine computed meanwhile."""
        if self.in_turns:
            self._elapsed()
        else:
            self._lump += self._elapsed()

    def waited(self, since: float) -> None:
        """The time since `since` (by perf_counter) was waiting; the lap that goes on does not count it."""
        elapsed = time.perf_counter() - since
        self._seconds[WAIT] += elapsed
        self._last += elapsed

    def seconds(self) -> dict[str, float | None]:
        """By `<phase>_seconds`; null for a phase that cannot be told."""
        found = dict(self._seconds)
        typical = {phase: _median([sample[phase] for sample in self._samples]) for phase in PHASES}
        sampled = sum(typical.values())
        known = {phase for phase in PHASES if sampled or not self._lump or phase not in (FORWARD, BACKWARD, UPDATE)}
        if sampled:
            whole = self._lump + sum(sum(sample.values()) for sample in self._samples)
            for phase, seconds in typical.items():
                found[phase] += seconds / sampled * whole
        known -= self._hidden
        return {f"{phase}_seconds": found[phase] if phase in known else None for phase in PHASES}

    def _elapsed(self) -> float:
        now = time.perf_counter()
        elapsed = now - self._last
        self._last = now
        return elapsed


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
