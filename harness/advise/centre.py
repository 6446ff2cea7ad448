"""Servers on a machine that is cabled to the access point: what passes between it and a node is on the air once. Pure."""

from __future__ import annotations

from dataclasses import replace

from harness.advise.costs import AIR
from harness.advise.strategies import Asked, Candidate, Strategy

NAME = "servers on a wired centre"


def with_centre(asked: Asked, *, certain: bool) -> Asked:
    """The candidates on nodes that share a medium, with such a machine.

    Where it is `certain`, all servers are there. Else there may be one: beside all others there is a candidate with its servers
    there for each number of nodes, the exact one with the fewest requests.
    """
    if certain:
        return replace(asked, together=tuple(_elsewhere(each, each.strategy.name) for each in asked.together))
    fewest: dict[int, tuple[int, Candidate]] = {}
    for each in asked.together:
        moved = each.estimate.traffic
        if moved and moved.exact and moved.outside_bytes is not None:
            found = moved.requests, each
            fewest[each.nodes] = min(fewest.get(each.nodes, found), found, key=lambda one: one[0])
    return replace(asked, together=(*asked.together, *(_elsewhere(each, NAME) for _, each in fewest.values())))


def _elsewhere(candidate: Candidate, name: str) -> Candidate:
    """The same with its servers on a machine that has a cable, if it has servers."""
    moved = candidate.estimate.traffic
    if moved is None or moved.outside_bytes is None:
        return candidate
    own = moved.outside_bytes / candidate.nodes
    there = moved.model_copy(update={"total_bytes": moved.outside_bytes / AIR, "sent_bytes": own, "phased_bytes": own})
    estimate = candidate.estimate.model_copy(update={"traffic": there})
    return Candidate(Strategy(name, candidate.strategy.settings), candidate.nodes, estimate)
