"""The shared values of one buffer, where they are not the worker's own."""

from __future__ import annotations

from collections.abc import Mapping

from ...engines.base import Floats, Memory
from ...rules import Rule

_OWN = "own"


class Centre:
    """What all workers have alike after a meeting: what is validated, kept and hashed.

    Where workers are not `apart` at an epoch's end, that is the worker's own values, and there is no second copy.
    """

    def __init__(self, values: Memory, rule: Rule, size: int, *, apart: bool) -> None:
        """`values` are the worker's own, at first the same on all workers; the first `size` are shared, where `apart` all."""
        self._shown = slice(0, size)
        self._values = values
        self._rule = rule
        self._shared: Floats | None = values.settled().copy() if apart else None
        self._own: Floats | None = None
        self._offered: Floats | None = None
        if self._shared is not None:
            rule.centre = self._shared

    def idle(self) -> Floats:
        """The shared values; as `Memory.idle`.

        Returns:
            (size,) float32, no unit.
        """
        return self._values.idle()[self._shown] if self._shared is None else self._shared

    def remember(self) -> None:
        """The worker goes on while the meeting that begins is under way: what it offers is no longer its own by the end."""
        self._offered = self._values.settled().copy()

    def take(self) -> None:
        """A meeting is over: the rule makes of the shared values what the worker goes on with.

        What a worker's values have changed by since it offered them is added to the shared ones.
        """
        if self._shared is not None and self._offered is not None:
            own = self._values.settled()
            own -= self._offered
            own += self._shared
        elif self._shared is not None:
            self._rule.accept(self._values.settled())
        self._offered = None
        self._rule.descent.met()

    def show(self) -> None:
        """Put the shared values where the model's are, until `hide`."""
        if self._shared is not None:
            own = self._values.settled()
            self._own = own.copy()
            own[:] = self._shared

    def hide(self) -> None:
        """Put the worker's own values back."""
        if self._own is not None:
            self._values.settled()[:] = self._own
            self._own = None

    def conclude(self) -> None:
        """The run is over: the shared values are what came of it."""
        if self._shared is not None:
            self._values.settled()[:] = self._shared

    def save(self) -> dict[str, Floats]:
        """What a worker needs beside the shared values to go on.

        Returns:
            copies by name, (size,) or (slice,) float32, no unit.
        """
        own = self._values.settled() if self._own is None else self._own
        return self._rule.state.save() | ({} if self._shared is None else {_OWN: own.copy()})

    def restore(self, arrays: Mapping[str, Floats]) -> None:
        """Take what `save` gave; the shared values are those that the model began with.

        Args:
            arrays: by name, (size,) or (slice,) float32, no unit.
        """
        if self._shared is not None and _OWN in arrays:
            self._values.settled()[:] = arrays[_OWN]
        self._rule.state.restore({name: array for name, array in arrays.items() if name != _OWN})
