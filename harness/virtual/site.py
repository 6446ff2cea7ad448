"""Where a cluster is on this machine: its paths and control groups."""

from __future__ import annotations

from dataclasses import dataclass

from harness.virtual.host import cgroup
from harness.virtual.host.machine import Machine
from harness.virtual.host.names import VirtualNode, prefix
from harness.virtual.state import Places, places_of


@dataclass(frozen=True)
class Site:
    """A cluster's paths and control groups."""

    places: Places
    hierarchies: cgroup.Hierarchies

    @classmethod
    def of(cls, name: str) -> Site:
        """The site of cluster `name`. Raises BadInputError or ClusterError where this machine cannot have one."""
        return cls(places_of(name), cgroup.find_hierarchies())

    @property
    def group(self) -> str:
        """Name of the control group above all nodes'."""
        return prefix(self.places.name)

    def machine(self, node: VirtualNode) -> Machine:
        """The machine of `node`."""
        group = cgroup.NodeGroup(self.hierarchies, self.group, node.name)
        return Machine(node, self.places.node(node.name), group)

    def nodes_with_remains(self) -> set[str]:
        """Names of the nodes that have left a control group or a directory."""
        found = set(cgroup.cluster_nodes(self.hierarchies, self.group))
        if self.places.nodes.is_dir():
            found |= {path.name for path in self.places.nodes.iterdir()}
        return found
