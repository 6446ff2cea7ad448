"""A virtual cluster of unlike machines, from an inventory that describes real ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.errors import BadInputError
from harness.nodes.inventory import Cluster, Node
from harness.virtual.blueprint import ClusterRequest

_OF_EVERY_INVENTORY = frozenset({"all", "nodes", "ungrouped"})
Variables = Mapping[str, object]


@dataclass(frozen=True)
class Machine:
    """What a node of the virtual cluster is said to be, in its inventory."""

    cores: int
    memory: str
    counts: bool
    groups: tuple[str, ...]

    def as_options(self) -> dict[str, object]:
        """As the cluster's options keep it."""
        return {"cores": self.cores, "memory": self.memory, "counts": self.counts, "groups": list(self.groups)}


def imitating(cluster: Cluster, request: ClusterRequest) -> ClusterRequest:
    """The request for a virtual cluster of the same machines, in the inventory's order: node01 is its first host.

    Each needs `node_profile` (the speed of one core), `node_cores` and `node_memory`. Raises BadInputError where one lacks
    them, or where another number of nodes is asked for.
    """
    if request.nodes is not None and request.nodes != len(cluster.hosts):
        raise BadInputError(
            f"--nodes {request.nodes}, but {cluster.inventory} has {len(cluster.hosts)} machines", "leave --nodes out"
        )
    names = [f"node{number:02d}" for number in range(1, len(cluster.hosts) + 1)]
    machines = {name: _machine(cluster, node).as_options() for name, node in zip(names, cluster.hosts, strict=True)}
    profiles = {name: str(node.profile) for name, node in zip(names, cluster.hosts, strict=True)}
    return replace(
        request,
        nodes=len(names),
        node_profiles={**profiles, **request.node_profiles},
        machines=machines,
    )


def _machine(cluster: Cluster, node: Node) -> Machine:
    for variable, value in (
        ("node_profile", node.profile),
        ("node_cores", node.cores),
        ("node_memory", node.memory_bytes),
    ):
        if value is None:
            raise BadInputError(
                f"{cluster.inventory}: host {node.name} has no {variable}: its speed and size are not known",
                "give every host node_profile, node_cores and node_memory",
            )
    groups = tuple(sorted(node.groups - _OF_EVERY_INVENTORY))
    return Machine(node.cores or 1, f"{(node.memory_bytes or 0) >> 20}MiB", node.counts, groups)


def host_variables(machine: Variables) -> dict[str, object]:
    """The variables of a node's host in the virtual cluster's inventory."""
    variables: dict[str, object] = {"node_cores": machine["cores"], "node_memory": machine["memory"]}
    return variables if machine["counts"] else {**variables, "node_counts": False}


def groups_of(machines: Mapping[str, Variables]) -> dict[str, dict[str, object]]:
    """The inventory's other groups, each with its hosts."""
    found: dict[str, dict[str, object]] = {}
    for name, machine in machines.items():
        groups = machine["groups"]
        for group in groups if isinstance(groups, list) else ():
            hosts = found.setdefault(str(group), {"hosts": {}})["hosts"]
            if isinstance(hosts, dict):
                hosts[name] = None
    return found
