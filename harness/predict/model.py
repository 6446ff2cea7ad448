"""The cost model: what one training step takes on n nodes. Pure.

    step = the larger of
             compute(batch) + message cost(n) + exposed * phased wire time(n)
             the time the busiest link is busy(n)

    compute(batch)  = step_seconds + image_seconds * batch
    message cost(n) = group_seconds + peer_seconds * (n - 1)           for n > 1, else 0
    phased wire(n)  = 2 (n - 1) * (even_bytes / shards + whole_bytes) / link rate

`even_bytes` of a model's data are cut into equal shards, one a server; `whole_bytes` lie on one node whatever the number of
servers. With even shards on every node the phased wire time is the well-known 2 (n - 1) / n * bytes / rate: gradients go out,
and only then weights come back. `exposed` is how much of it is paid: less than 1 where computation hides some, more where the
phases do not fill the link. Times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.predict.solve import Array

COSTS = ("image_seconds", "step_seconds", "group_seconds", "peer_seconds", "exposed")


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


def cost_terms(nodes: Array, batch: Array, traffic: Traffic, link_bits_per_second: float | None) -> Array:
    """How often each of COSTS is paid in a step: points x 5."""
    wire = traffic.phased_bytes(nodes) * 8 / link_bits_per_second if link_bits_per_second else np.zeros_like(nodes)
    several = (nodes > 1).astype(float)
    return np.stack([batch, np.ones_like(nodes), several, nodes - 1, wire], axis=1)


def step_seconds(costs: Array, nodes: Array, traffic: Traffic, conditions: Conditions) -> Array:
    """Seconds a step: points x cases, for `costs` of 5 x cases."""
    terms = cost_terms(nodes, np.full_like(nodes, conditions.batch), traffic, conditions.link_bits_per_second)
    link = conditions.link_bits_per_second
    busy = traffic.busiest_bytes(nodes) * 8 / link if link else np.zeros_like(nodes)
    return np.maximum(terms @ costs, busy[:, None])
