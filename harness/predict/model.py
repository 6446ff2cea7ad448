"""The cost model: what one training step takes on n nodes. Pure.

    step = the larger of
             compute(batch) + message cost(n) + exposed * max(0, phased wire time(n) - hidden * compute(batch))
             the time the busiest link is busy(n)

    compute(batch)  = step_seconds + image_seconds * batch
    message cost(n) = group_seconds + peer_seconds * (n - 1)           for n > 1, else 0
    phased wire(n)  = 2 (n - 1) * (even_bytes / shards + whole_bytes) / link rate

`even_bytes` of a model's data are cut into equal shards, one a server; `whole_bytes` lie on one node whatever the number of
servers. With even shards on every node the phased wire time is the well-known 2 (n - 1) / n * bytes / rate: gradients go out,
and only then weights come back. `hidden` is the share of computing behind which the wire's time hides first, `exposed` how much
of the rest is paid: more than 1 where the phases do not fill the link. Times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.predict.solve import Array

COSTS = ("image_seconds", "step_seconds", "group_seconds", "peer_seconds", "exposed", "hidden")
"""The first four in s, the others without unit; arrays of costs have these six rows."""


@dataclass(frozen=True)
class Point:
    """One measured cluster size (and batch), medians over its trials.

    `own_seconds`: of a step, computing; None where what is not waiting for the store says nothing of it. `busiest_bytes`: what
    the busiest node sends in a step, None where not measured. `shards`: nodes that serve parameters.
    """

    nodes: int
    batch: float
    step_seconds: float
    own_seconds: float | None = None
    busiest_bytes: float | None = None
    shards: int = 1
    trials: int = 1


@dataclass(frozen=True)
class Traffic:
    """What a step moves, each way; `servers` is the fixed number of shards, None for one on every node."""

    even_bytes: float = 0.0
    whole_bytes: float = 0.0
    servers: int | None = None

    def shards(self, nodes: Array) -> Array:
        """Into how many shards the evenly placed bytes are cut.

        Args:
            nodes: (points,) float64, count.

        Returns:
            (points,) float64, count.
        """
        return nodes if self.servers is None else np.minimum(nodes, self.servers)

    def phased_bytes(self, nodes: Array) -> Array:
        """Bytes that pass one link, one after the other, when everybody first pushes and then pulls.

        Args:
            nodes: (points,) float64, count.

        Returns:
            (points,) float64, bytes a step.
        """
        return 2 * (nodes - 1) * (self.even_bytes / self.shards(nodes) + self.whole_bytes)

    def busiest_bytes(self, nodes: Array) -> Array:
        """Bytes that the busiest node sends in a step, and receives: no overlap makes a step shorter than they take.

        Args:
            nodes: (points,) float64, count.

        Returns:
            (points,) float64, bytes a step.
        """
        even, whole = traffic_terms(nodes, self.shards(nodes))
        return even * self.even_bytes + whole * self.whole_bytes


def traffic_terms(nodes: Array, shards: Array) -> tuple[Array, Array]:
    """What the busiest node sends in a step per byte placed evenly, and per byte placed whole on it.

    As a worker it sends what other nodes serve, as a server it sends to all other workers what it serves itself.

    Args:
        nodes: (points,) float64, count.
        shards: (points,) float64, count.

    Returns:
        Two arrays (points,) of float64, no unit (bytes a byte).
    """
    several = nodes > 1
    return np.where(several, 1 + (nodes - 2) / shards, 0.0), np.where(several, nodes - 1, 0.0)


@dataclass(frozen=True)
class Conditions:
    """Under what a step is predicted: images a worker takes in a step, and each node's link (None: not modelled)."""

    batch: float
    link_bits_per_second: float | None


def wire_seconds(nodes: Array, traffic: Traffic, link_bits_per_second: float | None) -> Array:
    """Phased wire time of a step; 0 where the link is not modelled.

    Args:
        nodes: (points,) float64, count.
        traffic: what a step moves.
        link_bits_per_second: of each node's link.

    Returns:
        (points,) float64, s.
    """
    return traffic.phased_bytes(nodes) * 8 / link_bits_per_second if link_bits_per_second else np.zeros_like(nodes)


def cost_terms(nodes: Array, batch: Array) -> Array:
    """How often each of the first four COSTS is paid in a step.

    Args:
        nodes: (points,) float64, count.
        batch: (points,) float64, images of a worker.

    Returns:
        points x 4, float64, count.
    """
    return np.stack([batch, np.ones_like(nodes), (nodes > 1).astype(float), nodes - 1], axis=1)


def shown_seconds(wire: Array, hidden: float | Array, computing: Array) -> Array:
    """What of the phased wire time does not hide behind computing.

    Args:
        wire: phased wire time, (points,) or points x 1, float64, s.
        hidden: share of computing behind which it hides, a number or (cases,) of float64, no unit.
        computing: (points,) or (cases,) float64, s.

    Returns:
        (points,) or points x cases, float64, s.
    """
    shown: Array = np.maximum(wire - hidden * computing, 0)
    return shown


def step_seconds(costs: Array, nodes: Array, traffic: Traffic, conditions: Conditions) -> Array:
    """How long a step takes.

    Args:
        costs: 6 x cases, float64, units as COSTS has them.
        nodes: (points,) float64, count.
        traffic: what a step moves.
        conditions: under which.

    Returns:
        points x cases, float64, s.
    """
    link = conditions.link_bits_per_second
    linear, exposed, hidden = costs[:4], costs[4], costs[5]
    computing = costs[0] * conditions.batch + costs[1]
    shown = shown_seconds(wire_seconds(nodes, traffic, link)[:, None], hidden, computing)
    terms = cost_terms(nodes, np.full_like(nodes, conditions.batch))
    busy = traffic.busiest_bytes(nodes) * 8 / link if link else np.zeros_like(nodes)
    seconds: Array = np.maximum(terms @ linear + exposed * shown, busy[:, None])
    return seconds
