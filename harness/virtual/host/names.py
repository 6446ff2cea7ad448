"""What a virtual cluster and its parts are called, and which addresses they have. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from harness.errors import BadInputError

DEFAULT_NAME = "pi"
DEFAULT_SUBNET = "10.77.0.0/24"
MOST_NODES = 99

# No hyphen: names of parts are `hv-<cluster>-<part>`, and no cluster's prefix may be another's.
_NAME = re.compile(r"[a-z][a-z0-9]{0,14}")


def checked_name(name: str) -> str:
    """Return `name` if a cluster can be called that, else raise BadInputError."""
    if not _NAME.fullmatch(name):
        raise BadInputError(
            f"{name!r} is no name for a virtual cluster",
            "use 1-15 lower case letters and digits, a letter first: --name pi",
        )
    return name


def prefix(cluster: str) -> str:
    """Prefix of everything system-wide that belongs to `cluster`: namespaces and control groups."""
    return f"hv-{cluster}"


def switch_namespace(cluster: str) -> str:
    """Network namespace that holds the switch."""
    return f"{prefix(cluster)}-sw"


def controller_namespace(cluster: str) -> str:
    """Network namespace of the controller's port."""
    return f"{prefix(cluster)}-c"


def node_namespace(cluster: str, index: int) -> str:
    """Network namespace of node `index` (from 1)."""
    return f"{prefix(cluster)}-n{index:02d}"


def node_name(index: int) -> str:
    """Host name of node `index` (from 1)."""
    return f"node{index:02d}"


def is_namespace_of(cluster: str, namespace: str) -> bool:
    """Whether `namespace` is one that `cluster` makes."""
    return re.fullmatch(re.escape(prefix(cluster)) + r"-(sw|c|n\d\d)", namespace) is not None


@dataclass(frozen=True)
class VirtualNode:
    """One node of the cluster's plan; `index` counts from 1."""

    cluster: str
    index: int
    address: str

    @property
    def name(self) -> str:
        """Host name."""
        return node_name(self.index)

    @property
    def namespace(self) -> str:
        """Network namespace."""
        return node_namespace(self.cluster, self.index)

    @property
    def mac(self) -> str:
        """Hardware address: locally administered, then the IP address, so that it is the same at every `up`."""
        return "02:00:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(self.address).packed)


@dataclass(frozen=True)
class AddressPlan:
    """The addresses of a cluster: node k has the k-th address of the subnet, the controller the last one."""

    subnet: ipaddress.IPv4Network

    @classmethod
    def of(cls, subnet: str) -> AddressPlan:
        """Read `subnet` (such as 10.77.0.0/24); BadInputError when it is none or too small for `MOST_NODES`."""
        try:
            network = ipaddress.IPv4Network(subnet)
        except ValueError as error:
            raise BadInputError(f"{subnet!r} is no IPv4 subnet: {error}", f"use --subnet {DEFAULT_SUBNET}") from error
        if network.num_addresses < MOST_NODES + 3 or not network.is_private:
            raise BadInputError(
                f"subnet {subnet} is not a private one with at least {MOST_NODES + 3} addresses",
                f"use --subnet {DEFAULT_SUBNET}",
            )
        return cls(network)

    @property
    def prefix_length(self) -> int:
        """Length of the network part in bits."""
        return self.subnet.prefixlen

    @property
    def controller(self) -> str:
        """Address of the controller's port."""
        return str(self.subnet.broadcast_address - 1)

    def node(self, index: int) -> str:
        """Address of node `index` (from 1)."""
        return str(self.subnet.network_address + index)


def nodes_of(cluster: str, count: int, subnet: str) -> list[VirtualNode]:
    """The nodes of a cluster of `count` nodes, in order; BadInputError when there cannot be so many."""
    if not 1 <= count <= MOST_NODES:
        raise BadInputError(f"a virtual cluster has 1 to {MOST_NODES} nodes, not {count}", "use --nodes 4")
    plan = AddressPlan.of(subnet)
    return [VirtualNode(cluster, index, plan.node(index)) for index in range(1, count + 1)]
