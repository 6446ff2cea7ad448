"""What a step of several nodes costs beside computing and bytes, and what an epoch then takes. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.check.estimates import Traffic
from harness.display import text
from harness.predict.equations import HIDDEN
from harness.predict.forecast import Range
from harness.predict.model import shown_seconds
from harness.predict.solve import Array

PAYLOAD = 1448 / 1538
"""Of what an Ethernet link carries, what TCP carries: 1,448 of the 1,538 bytes that a full frame takes."""

STATED_PEER_SECONDS = 0.0005
"""A message's processor time a step and further node: what eleven virtual Pi 3 spent on it in the published runs."""

STATED = (
    f"stated: {text.seconds(STATED_PEER_SECONDS)} a step and further node; of what travels while nodes compute none to half of"
    " that time hides"
)
"""`stated_costs` in words."""


@dataclass(frozen=True)
class Costs:
    """The costs of the model of docs/explanation/prediction.md beside computing, a column a case: what hides is not known.

    Each is (cases,) float64: `group_seconds` and `peer_seconds` in s, `exposed`, `hidden` and `weights` (together 1) without
    unit.
    """

    group_seconds: Array
    peer_seconds: Array
    exposed: Array
    hidden: Array
    weights: Array

    def range(self, seconds: Array) -> Range:
        """The weighted mean of the cases, and between what they lie.

        Args:
            seconds: (cases,) float64, s.
        """
        return Range(float(seconds @ self.weights), float(seconds.min()), float(seconds.max()))


def stated_costs() -> Costs:
    """What is believed where nothing was measured: bytes cost what they take, some of it behind computing."""
    hidden = np.array(HIDDEN)
    same = np.ones_like(hidden)
    return Costs(0 * same, STATED_PEER_SECONDS * same, same, hidden, same / len(hidden))


def link_seconds(count: float, link_bits_per_second: float) -> float:
    """How long so many bytes of payload take on a link."""
    return count / PAYLOAD * 8 / link_bits_per_second


def meeting_seconds(computing: float, nodes: int, moved: Traffic, link_bits_per_second: float, costs: Costs) -> Array:
    """How long a step takes in which so many nodes meet.

    Args:
        computing: of the slowest node, s.
        nodes: that train together.
        moved: what they send.
        link_bits_per_second: of each node.
        costs: beside these.

    Returns:
        (cases,) float64, s.
    """
    wire = np.full_like(costs.hidden, link_seconds(moved.phased_bytes, link_bits_per_second))
    hidden = costs.hidden if moved.hides else np.zeros_like(costs.hidden)
    shown = costs.exposed * shown_seconds(wire, hidden, np.full_like(wire, computing))
    messages = costs.group_seconds + costs.peer_seconds * (nodes - 1)
    busy = link_seconds(moved.sent_bytes, link_bits_per_second)
    seconds: Array = np.maximum(computing + messages + shown, busy)
    return seconds


def epoch_seconds(
    computing: float, nodes: int, steps: int, moved: Traffic, link_bits_per_second: float, costs: Costs
) -> Range:
    """How long the steps of an epoch take: those in which the nodes meet, and those in which each trains alone."""
    if nodes == 1 or not moved.meetings:
        return Range(*([steps * computing] * 3))
    meeting = meeting_seconds(computing, nodes, moved, link_bits_per_second, costs)
    return costs.range(steps * computing + moved.meetings * (meeting - computing))
