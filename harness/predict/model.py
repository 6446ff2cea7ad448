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
        """Into how many shards the evenly placed bytes are cut."""
        return nodes if self.servers is None else np.minimum(nodes, self.servers)

    def phased_bytes(self, nodes: Array) -> Array:
        """Bytes that pass one link, one after the other, when everybody first pushes and then pulls."""
        return 2 * (nodes - 1) * (self.even_bytes / self.shards(nodes) + self.whole_bytes)

    def busiest_bytes(self, nodes: Array) -> Array:
        """Bytes that the busiest node sends in a step, and receives: no overlap makes a step shorter than they take."""
        even, whole = traffic_terms(nodes, self.shards(nodes))
        return even * self.even_bytes + whole * self.whole_bytes


def traffic_terms(nodes: Array, shards: Array) -> tuple[Array, Array]:
    """What the busiest node sends in a step per byte placed evenly, and per byte placed whole on it.

    As a worker it sends what other nodes serve, as a server it sends to all other workers what it serves itself.
    """
    several = nodes > 1
    return np.where(several, 1 + (nodes - 2) / shards, 0.0), np.where(several, nodes - 1, 0.0)


@dataclass(frozen=True)
class Conditions:
    """Under what a step is predicted: images a worker takes in a step, and each node's link (None: not modelled)."""

    batch: float
    link_bits_per_second: float | None


def wire_seconds(nodes: Array, traffic: Traffic, link_bits_per_second: float | None) -> Array:
    """Phased wire time of a step; 0 where the link is not modelled."""
    return traffic.phased_bytes(nodes) * 8 / link_bits_per_second if link_bits_per_second else np.zeros_like(nodes)


def cost_terms(nodes: Array, batch: Array, shown_seconds: Array) -> Array:
    """How often each of COSTS but the last is paid in a step: points x 5; `shown_seconds`: what of the wire is not hidden."""
    return np.stack([batch, np.ones_like(nodes), (nodes > 1).astype(float), nodes - 1, shown_seconds], axis=1)


def step_seconds(costs: Array, nodes: Array, traffic: Traffic, conditions: Conditions) -> Array:
    """Seconds a step: points x cases, for `costs` of 6 x cases."""
    link = conditions.link_bits_per_second
    *linear, exposed, hidden = costs
    computing = costs[0] * conditions.batch + costs[1]
    shown = np.maximum(wire_seconds(nodes, traffic, link)[:, None] - hidden * computing, 0)
    unexposed = cost_terms(nodes, np.full_like(nodes, conditions.batch), np.zeros_like(nodes))[:, :4]
    busy = traffic.busiest_bytes(nodes) * 8 / link if link else np.zeros_like(nodes)
    seconds: Array = np.maximum(unexposed @ np.array(linear) + exposed * shown, busy[:, None])
    return seconds
