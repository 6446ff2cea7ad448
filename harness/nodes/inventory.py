"""The cluster: its nodes, and what is common to them."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.errors import BadInputError
from harness.nodes.connection.login import Login
from harness.paths import cache_directory
from harness.system.addresses import own_address

DEFAULT_PORT = 9091
HOME = "~"
"""At the beginning of a root: the home of the node's user, which only the node knows."""

# As Ansible does: the first that is there.
_FIRST_PYTHON = (
    'for each in {}; do found=$(command -v "$each") && exec "$found" "$@"; done; '
    'echo "there is no Python 3" >&2; exit 127'
)

Supervisor = Literal["systemd", "process"]


@dataclass(frozen=True)
class Node:
    """One machine of the cluster, as the inventory describes it."""

    name: str
    address: str
    local: bool
    root: str
    supervisor: Supervisor = "systemd"
    user: str | None = None
    ssh_port: int = 22
    key_file: str | None = None
    known_hosts: str | None = None
    python: str = "/usr/bin/python3"
    threads: int | None = None
    """What a rank computes with; None for as many as OpenMP takes by itself, one a core."""
    cores: int | None = None
    """Processor cores that ranks are told of; what the node itself says where the inventory does not."""
    memory_bytes: int | None = None
    """Memory that ranks are told of; likewise."""
    profile: str | None = None
    """The speed that one of its cores has in a virtual cluster of the same machines; a real node needs none."""
    power_meter: str | None = field(default=None, repr=False)
    """Where its power meter is, as harness/energy/address.py reads it; there may be a password in it."""
    groups: frozenset[str] = frozenset()
    """The inventory's groups that it is in."""
    controller: bool = False
    """Whether it is the machine of the harness: its ranks run in the harness's own Python."""
    counts: bool = True
    """Whether it is one of the nodes that `--nodes` counts; another one only has roles that name it."""
    login: Login | None = None
    """How OpenSSH would log in, as Ansible starts it; None for address, port, user and key as above."""
    pythons: tuple[str, ...] = ()
    """Where its Python is looked for, in this order, instead of `python`; Ansible's `auto`."""
    become_password: str | None = field(default=None, repr=False)
    """What sudo is told there, where it asks for a password."""

    @property
    def interpreter(self) -> tuple[str, ...]:
        """The words that run its own Python, to which arguments are appended."""
        if not self.pythons:
            return (self.python,)
        return ("/bin/sh", "-c", _FIRST_PYTHON.format(shlex.join(self.pythons)), "sh")


@dataclass(frozen=True)
class Meters:
    """Where power meters are, by the name of what each measures. Shown by these names alone: addresses may have passwords."""

    by_name: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"meters of {', '.join(name for name, _ in self.by_name) or 'nothing'}"


@dataclass(frozen=True)
class Cluster:
    """The nodes that are counted, in inventory order, and what is common to them."""

    inventory: Path
    kind: str
    nodes: tuple[Node, ...]
    port: int = DEFAULT_PORT
    network_namespace: str | None = None
    time_dilation: float = 1.0
    """What all that happens on the nodes is slowed down by; see harness/results/dilation.py."""
    link: str = "cable"
    """What joins its nodes: `cable`, one for each, or `wifi`, a medium that all share."""
    others: tuple[Node, ...] = ()
    """Hosts outside the placement of trials: they only have roles that name them."""
    power_meters: Meters = field(default_factory=Meters)
    """Meters of what is no node, such as the switch."""

    @property
    def shares_medium(self) -> bool:
        """Whether what one node sends takes time from all."""
        return self.link == "wifi"

    @property
    def hosts(self) -> tuple[Node, ...]:
        """All hosts, those first that are counted."""
        return (*self.nodes, *self.others)

    @property
    def controller(self) -> Node:
        """This machine, for ranks that run beside the harness; its address is the one that the nodes can reach."""
        return controller_node(self.nodes)

    def first(self, count: int, excluding: frozenset[str] = frozenset()) -> tuple[Node, ...]:
        """The first `count` nodes that are not excluded by name.

        Raises BadInputError where there are not as many.
        """
        usable = [node for node in self.nodes if node.name not in excluding]
        if count > len(usable):
            left_out = f" ({len(excluding)} left out)" if excluding else ""
            raise BadInputError(
                f"{count} nodes asked for, but {self.inventory} has {len(usable)}{left_out}",
                f"ask for at most {len(usable)} with --nodes, or add nodes to the inventory",
            )
        return tuple(usable[:count])


def controller_node(nodes: Sequence[Node]) -> Node:
    """This machine as a node. Its address is that of the interface that leads to the first node; nothing is sent."""
    return Node(
        name="controller",
        controller=True,
        address=own_address(nodes[0].address),
        local=True,
        root=str(cache_directory().absolute() / "controller"),
        supervisor="process",
        python=sys.executable,
        cores=os.cpu_count(),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    )
