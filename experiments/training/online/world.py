"""What the world does to images and labels, and when it changes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..datasets.dataset import Bytes
from ..errors import ProgramError

TURN, SWAP, DIM = "turn", "swap", "dim"
CHANGES = (TURN, SWAP, DIM)
"""Images are turned by a quarter; every label is called as the next one; the light is halved."""


@dataclass(frozen=True)
class World:
    """The changes so far, in their order."""

    changes: tuple[str, ...] = ()

    def seen(self, images: Bytes, labels: Bytes, classes: int) -> tuple[Bytes, Bytes]:
        """Images and labels as a home sees them in this world.

        Args:
            images: (n, side, side) or (n, channels, side, side) uint8, in units of the data set's pixels.
            labels: (n,) uint8, numbers of classes, no unit.
            classes: how many there are.

        Returns:
            (n, side, side) or (n, channels, side, side) uint8, and (n,) uint8, in the same units.
        """
        for change in self.changes:
            if change == TURN:
                images = np.ascontiguousarray(np.rot90(images, axes=(-2, -1)))
            elif change == DIM:
                images = images // np.uint8(2)
            else:
                labels = ((labels.astype(np.int64) + 1) % classes).astype(np.uint8)
        return images, labels


@dataclass(frozen=True)
class Calendar:
    """When the world changes: after which tick, and how; in the order of time."""

    moments: tuple[tuple[int, str], ...] = ()

    @classmethod
    def read(cls, text: str | None) -> Calendar:
        """From `50:turn,80:dim`. Raises ProgramError for what is no such list."""
        moments = []
        for word in (text or "").split(",") if text else ():
            tick, _, change = word.strip().partition(":")
            if not (tick.isascii() and tick.isdecimal() and int(tick) > 0 and change in CHANGES):
                raise ProgramError(
                    f"'{word}' is no change of the world",
                    f"write TICK:CHANGE, such as 50:turn, of {', '.join(CHANGES)}",
                )
            moments.append((int(tick), change))
        return cls(tuple(sorted(moments, key=lambda moment: moment[0])))

    def world(self, tick: int) -> World:
        """The world of a tick, from 1."""
        return World(tuple(change for after, change in self.moments if tick > after))

    def before(self, tick: int) -> World | None:
        """The world before the last change; None where there was none."""
        changes = self.world(tick).changes
        return World(changes[:-1]) if changes else None
