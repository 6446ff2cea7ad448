"""The smallest and the largest size of a series, and how a number moved between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from harness.display import text
from harness.report.tables import Show


@dataclass(frozen=True)
class Ends:
    """The smallest and the largest measured size of a series."""

    first: pd.Series
    last: pd.Series

    @classmethod
    def of(cls, points: pd.DataFrame) -> Ends:
        """The ends of a series.

        Args:
            points: frame as `Analysis.points_of` gives it (float64, units as METRICS has them).
        """
        return cls(points.iloc[0], points.iloc[-1])

    @property
    def at_last(self) -> str:
        """`4 nodes`."""
        return text.nodes(self.last["nodes"])

    @property
    def differ(self) -> bool:
        """Whether there are two sizes."""
        return bool(self.first["nodes"] != self.last["nodes"])

    @property
    def same_worker_batch(self) -> bool:
        """Whether a worker's batch is the same at both."""
        return self.known("worker_batch") and round(self.first["worker_batch"]) == round(self.last["worker_batch"])

    def known(self, *metrics: str) -> bool:
        """Whether both have these metrics."""
        return not any(math.isnan(row[metric]) for row in (self.first, self.last) for metric in metrics)

    def moved(self, metric: str, show: Show) -> str:
        """`fell from 64.3 s to 11.5 s`, or `stayed at 1%` where both read the same."""
        before, after = show(self.first[metric]), show(self.last[metric])
        if before == after:
            return f"stayed at {after}"
        verb = "fell" if self.last[metric] < self.first[metric] else "rose"
        return f"{verb} from {before} to {after}"


def count(value: float, noun: str) -> str:
    """`1 epoch`, `4 epochs`."""
    return f"{value:.4g} {noun}{'' if value == 1 else 's'}"
