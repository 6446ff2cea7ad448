"""What is known of a run at a moment: all that its page is made from. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract.json_line import Json, mapping
from harness.live.epochs import Course, Epoch
from harness.live.health import Health
from harness.live.planned import Planned
from harness.live.power import Power
from harness.live.running import Said
from harness.results.rows import Row


@dataclass(frozen=True)
class Current:
    """The trial that runs, or that ran last."""

    trial: str
    said: Said
    since: float
    """s since 1970."""
    begun: bool = False
    """By the harness that works on the run now."""
    over: bool = False
    """It has a record."""
    attempt: int = 1
    recoveries: int = 0
    logs: Sequence[tuple[str, Sequence[str]]] = ()
    """By rank its last lines."""


@dataclass(frozen=True)
class Seen:
    """What is known of a run at a moment."""

    place: str
    """The run directory."""
    manifest: Json
    planned: Mapping[str, Planned]
    rows: Mapping[str, Row]
    """Of trials.csv, by trial."""
    courses: Mapping[str, Course]
    health: Health
    power: Power
    current: Current | None
    written: bool
    """Whether a harness works on it."""
    moment: float
    """s since 1970."""

    @property
    def running(self) -> str | None:
        """The trial that runs."""
        one = self.current
        return one.trial if one and one.begun and not one.over and one.trial not in self.rows else None

    @property
    def cluster(self) -> Mapping[str, Any]:
        """What the manifest says of the cluster."""
        return mapping(self.manifest.get("cluster"))

    @property
    def dilation(self) -> float:
        """The cluster's: the clock here runs so many times as fast as reported seconds do."""
        value = self.cluster.get("time_dilation")
        return (
            float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6 else 1.0
        )

    def epochs_of(self, trial: str) -> dict[float, Epoch]:
        """The epochs of a trial that all its workers have told of."""
        workers = self.current.said.workers if self.current and trial == self.current.trial else None
        return self.courses.get(trial, Course()).whole(workers)
