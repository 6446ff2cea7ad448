"""What is asked of a prediction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """What to predict: cluster sizes, and a link and a batch to compare with the measured ones (None: the usual steps).

    `measured_link_bits_per_second` is the link that the run was measured on, None for what its manifest says; a node pays
    when it adds at least `threshold` of one node's speed.
    """

    nodes: tuple[int, ...]
    link_bits_per_second: float | None = None
    batch: int | None = None
    measured_link_bits_per_second: float | None = None
    threshold: float = 0.5
