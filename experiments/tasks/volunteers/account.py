"""What the coordinator has to tell: of every node its share, of every window what was lost, refused, and how stale."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from training.engines.base import Floats


@dataclass
class Share:
    """A node's part of the work."""

    images: int = 0
    """Of tasks that count."""
    lost: int = 0
    """Of tasks that do not."""
    tasks: int = 0
    """Those that count."""
    seconds: float = 0.0
    """In which it trained for these."""


@dataclass
class Window:
    """What happened since the last measurement."""

    loss: float = 0.0
    images: int = 0
    lost: int = 0
    refused: int = 0
    stale: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Measurement:
    """The shared values at a window's end, to be judged, and what is to be told of the window."""

    window: int
    seconds: float
    """Of the window."""
    since: float
    """Seconds since the run began."""
    steps: int
    rate: float
    centre: Floats
    events: dict[str, Any]
    loss: float
    images: int
    lost: int
    staleness: float | None


class Account:
    """Of a whole run."""

    def __init__(self) -> None:
        self.shares: dict[str, Share] = {}
        self._window = Window()

    def counted(self, node: str, images: int, seconds: float, loss: float, staleness: int) -> None:
        """A result was merged."""
        share, window = self.shares.setdefault(node, Share()), self._window
        share.images += images
        share.tasks += 1
        share.seconds += seconds
        window.images += images
        window.loss += loss
        window.stale.append(staleness)

    def lost(self, node: str, images: int, *, refused: bool = False) -> None:
        """A task of a node counts for nothing."""
        self.shares.setdefault(node, Share()).lost += images
        self._window.lost += images
        self._window.refused += refused

    def measured(
        self, window: int, seconds: float, since: float, steps: int, rate: float, centre: Floats, present: int
    ) -> Measurement:
        """A window is over.

        Args:
            window: from 1.
            seconds: it took.
            since: the run began.
            steps: of the window.
            rate: the learning rate at its end.
            centre: (n,) float32, no unit: the shared values.
            present: volunteers that are there.
        """
        done, self._window = self._window, Window()
        stale = float(np.mean(done.stale)) if done.stale else None
        events = {
            "present": present,
            "images_lost": done.lost,
            "refused": done.refused,
            "staleness": stale,
            "most_stale": max(done.stale, default=None),
            "shares": {node: share.images for node, share in sorted(self.shares.items())},
            "done_again": {node: share.lost for node, share in sorted(self.shares.items())},
            "busy_seconds": {node: round(share.seconds, 3) for node, share in sorted(self.shares.items())},
        }
        return Measurement(
            window, seconds, since, steps, rate, centre, events, done.loss, done.images, done.lost, stale
        )  # fmt: skip
