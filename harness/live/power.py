"""What is drawn by nodes, switch and controller, as samples of power.csv come. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.energy.address import MOST_WATTS
from harness.live.epochs import number
from harness.results.rows import Row, moment_of

_METER = ("meter", "")
"""Sources that are samples; what is declared or estimated is none, and does not change."""


@dataclass(frozen=True)
class Sample:
    """The last of a meter; None where it did not answer."""

    moment: float
    """s of the controller's clock, since 1970."""
    watts: float | None


class Power:
    """The last sample of each meter, by the name of what it measures."""

    def __init__(self) -> None:
        self._last: dict[str, Sample] = {}

    def __bool__(self) -> bool:
        """Whether anything was sampled."""
        return bool(self._last)

    def add(self, row: Row) -> None:
        """One row; one of no meter, without a name or without a moment is left out."""
        moment, name = moment_of(str(row.get("time"))), row.get("node")
        if moment is None or not name or (row.get("source") or "") not in _METER:
            return
        watts = number(row.get("watts"))
        self._last[str(name)] = Sample(moment, watts if watts is not None and 0 <= watts <= MOST_WATTS else None)

    def clear(self) -> None:
        """Forget all samples."""
        self._last.clear()

    def of(self, name: str) -> Sample | None:
        """The last sample of what has this name."""
        return self._last.get(name)

    def others(self, nodes: set[str]) -> Iterator[tuple[str, Sample]]:
        """What else was sampled: switch, controller, a plug of all."""
        return ((name, sample) for name, sample in self._last.items() if name not in nodes)
