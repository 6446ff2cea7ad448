"""What a step of several nodes costs beside computing and bytes, and what an epoch then takes. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.check.estimates import Traffic
from harness.display import text
from harness.predict.forecast import Range
from harness.predict.model import shown_seconds
from harness.predict.solve import Array
from harness.virtual.link import Link

AIR = 2
"""How often a frame from node to node is on the air of a Wi-Fi: to the access point, and from it."""

PAYLOAD = 1448 / 1538
"""Of what an Ethernet link carries, what TCP carries: 1,448 of the 1,538 bytes that a full frame takes."""

STATED_PEER_SECONDS = 0.0005
"""A message's processor time a step and further node: what eleven virtual Pi 3 spent on it in the published runs."""

STATED_BYTE_SECONDS = 5e-9
"""A byte's processor time where it is sent and one like it taken: 0.3 ns on a machine that is thirteen to nineteen times as
fast as a virtual Pi 3."""

STATED_UNEVEN = 0.15
"""By what part of itself the wire's time is longer, for each doubling of the nodes that send to each other beyond two: they do
not fill their links all the time (docs/results/models: 1.0 times at two nodes, 1.04 to 1.3 at four, 1.4 at eleven)."""

STATED_REQUEST_SECONDS = 0.001
"""What a push or a pull takes its worker's processor: MXNet's own of LeNet-5's ten arrays 1.5 ms on a machine that is thirteen
times as fast as a virtual Pi 3."""

STATED_HIDDEN = (0.5, 0.75, 1.0)
"""Of the computing behind which bytes can travel."""

STATED = (
    f"stated: {text.seconds(STATED_PEER_SECONDS)} a step and further node, {text.seconds(1e6 * STATED_BYTE_SECONDS)} a MB,"
    f" {text.seconds(STATED_REQUEST_SECONDS)} a request to a server, {STATED_UNEVEN:.0%} more of the wire with each doubling"
    " of two nodes; what travels while nodes compute hides behind half to all"
    " of that computing"
)
"""`stated_costs` in words."""


@dataclass(frozen=True)
class Costs:
    """The costs of the model of docs/explanation/prediction.md beside computing, a column a case: what hides is not known.

    Each is (cases,) float64: `group_seconds` and `peer_seconds` in s, `exposed`, `hidden` and `weights` (together 1) without
    unit. `byte_seconds` are of a byte sent, `request_seconds` of what a server answers, in s; `uneven`: see STATED_UNEVEN.
    `of_all`: `hidden` is a share of all computing, as it is fitted, and not of what the program says that bytes travel behind.
    """

    group_seconds: Array
    peer_seconds: Array
    exposed: Array
    hidden: Array
    weights: Array
    byte_seconds: float = 0.0
    request_seconds: float = 0.0
    uneven: float = 0.0
    of_all: bool = True

    def range(self, seconds: Array) -> Range:
        """The weighted mean of the cases, and between what they lie.

        Args:
            seconds: (cases,) float64, s.
        """
        return Range(float(seconds @ self.weights), float(seconds.min()), float(seconds.max()))


def stated_costs() -> Costs:
    """What is believed where nothing was measured: bytes cost what they take, some of it behind computing."""
    hidden = np.array(STATED_HIDDEN)
    same = np.ones_like(hidden)
    return Costs(
        0 * same, STATED_PEER_SECONDS * same, same, hidden, same / len(hidden), STATED_BYTE_SECONDS,
        STATED_REQUEST_SECONDS, STATED_UNEVEN, of_all=False,
    )  # fmt: skip


def link_seconds(count: float, link_bits_per_second: float) -> float:
    """How long so many bytes of payload take on a link."""
    return count / PAYLOAD * 8 / link_bits_per_second


def wire_seconds(moved: Traffic, nodes: int, link: Link) -> float:
    """How long what so many nodes move in a meeting takes: on each node's own link, or all of it on their one medium."""
    if link.shared:
        return link_seconds(AIR * moved.of_all(nodes), link.rate)
    return link_seconds(moved.phased_bytes, link.rate)


def told_seconds(moved: Traffic, nodes: int, link: Link, costs: Costs) -> float:
    """How long it takes to tell what is told once an epoch."""
    count = AIR * nodes * moved.told_bytes if link.shared else moved.told_bytes
    return link_seconds(count, link.rate) + costs.byte_seconds * moved.told_bytes


def meeting_seconds(computing: float, nodes: int, moved: Traffic, link: Link, costs: Costs) -> Array:
    """How long a step takes in which so many nodes meet.

    Args:
        computing: of the slowest node, s.
        nodes: that train together.
        moved: what they send.
        link: of each node, or the one medium of all.
        costs: beside these.

    Returns:
        (cases,) float64, s.
    """
    all_of_it = wire_seconds(moved, nodes, link)
    if not link.shared:
        all_of_it *= 1 + costs.uneven * math.log2(max(2, nodes if moved.among is None else moved.among) / 2)
    if costs.of_all:
        bare, hidden = 0.0, costs.hidden * bool(moved.hides)
    else:
        bare = all_of_it * moved.shown_bytes / moved.phased_bytes if moved.phased_bytes else 0.0
        hidden = costs.hidden * moved.hides
    wire = np.full_like(costs.hidden, all_of_it - bare)
    shown = costs.exposed * (bare + shown_seconds(wire, hidden, np.full_like(wire, computing)))
    messages = costs.group_seconds + costs.peer_seconds * (nodes - 1)
    handling = costs.byte_seconds * moved.sent_bytes + costs.request_seconds * moved.requests
    busy = all_of_it if link.shared else link_seconds(moved.sent_bytes, link.rate)
    seconds: Array = np.maximum(computing + messages + handling + shown, busy)
    return seconds


def steps_seconds(computing: float, nodes: int, steps: int, moved: Traffic, link: Link, costs: Costs) -> Range:
    """How long the steps of an epoch take: those in which the nodes meet, and those in which each trains alone."""
    if nodes == 1 or not moved.meetings:
        return Range(*([steps * computing] * 3))
    meeting = meeting_seconds(computing, nodes, moved, link, costs)
    return costs.range(steps * computing + moved.meetings * (meeting - computing))
