"""Looks at the nodes before anything starts there, and refuses what they are not fit for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.check.preflight import Preflight, examine, warnings_of
from harness.nodes.inventory import Cluster, Node
from harness.nodes.session import Session
from harness.sweep.prepare import Prepared


@dataclass(frozen=True)
class Admitted:
    """A run that its nodes are fit for."""

    prepared: Prepared
    preflight: Preflight
    """What the nodes said that the trials are placed on."""
    spare: tuple[Node, ...]
    """Spare nodes that are fit to stand in."""
    warnings: tuple[str, ...]
    """What does not forbid a start, but should be known to who reads the results."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes that the run may use."""
        return (*self.prepared.nodes, *self.spare)

    @property
    def cluster(self) -> Cluster:
        """The cluster, its nodes with the cores and the memory that they said they have where the inventory does not say it."""
        cluster = self.prepared.cluster
        nodes, others = (tuple(map(self.preflight.completed, part)) for part in (cluster.nodes, cluster.others))
        return replace(cluster, nodes=nodes, others=others)

    @property
    def unfit(self) -> frozenset[str]:
        """Nodes that are never placed on: nobody looked at them, or spare ones that did not pass the checks."""
        return frozenset(node.name for node in self.prepared.cluster.nodes) - {node.name for node in self.nodes}


def admit(session: Session, prepared: Prepared) -> Admitted:
    """Bring the agent to the nodes and look at them. Raises BadInputError, and nothing was started, where one is not fit."""
    preflight, spare = examine(
        session, prepared.nodes, prepared.spare, prepared.code.agent, prepared.placements, prepared.cluster,
        run=prepared.earlier.paths.root.name if prepared.earlier else None,
    )  # fmt: skip
    warnings = [f"{finding.node}: {finding.detail}" for finding in warnings_of(preflight)]
    warnings += [
        f"{probed.node.name}: its copy of the code had been changed or damaged ({', '.join(wrong)}), and was sent again"
        for probed in preflight.probed
        if (wrong := probed.answer.get("wrong_code"))
    ]
    return Admitted(prepared, preflight, tuple(spare), tuple(warnings))
