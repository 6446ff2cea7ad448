"""Whose power is known in a sweep, and by what: from the inventory and the command line. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.energy.address import Fixed, Meter, OwnFile, Plug, read_address
from harness.energy.published import PUBLISHED
from harness.errors import BadInputError
from harness.nodes.inventory import Cluster

_EMULATIONS = ("virtual", "emulated")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")

ALL_NODES = "cluster"
"""The name of what is of all nodes together, such as one plug for all of them; no node then counts by itself."""

Part = Literal["node", "other"]


@dataclass(frozen=True)
class Metered:
    """A node, or something else such as the switch, with what says how many watts it draws."""

    name: str
    part: Part
    by: Meter | Fixed


@dataclass(frozen=True)
class Metering:
    """Everything whose power is known in a sweep."""

    things: tuple[Metered, ...] = ()
    idle_seconds: float = 0.0
    """How long meters are asked before the first trial, while nothing runs."""
    interval_seconds: float = 2.0

    def of_nodes(self, names: AbstractSet[str]) -> Metering:
        """The same without other nodes than these."""
        kept = tuple(each for each in self.things if each.part == "other" or each.name in names)
        return replace(self, things=kept)

    @property
    def waits_for_idle(self) -> bool:
        """Whether a meter is to say what is drawn idle: one of which nobody declared it."""
        return self.idle_seconds > 0 and any(
            not isinstance(each.by, Fixed) and each.by.idle_watts is None for each in self.things
        )


def metering_of(
    cluster: Cluster, named: Sequence[str] = (), idle_seconds: float = 0.0, interval_seconds: float = 2.0
) -> Metering:
    """Whose power is known on a cluster; `named` are the command line's NAME=ADDRESS, which come before the inventory's.

    A node without a meter has its profile's published watts, where there are any. Raises BadInputError for what is no address,
    for watts that would count twice, and for meters of nodes that are no machines.
    """
    directory = cluster.inventory if cluster.inventory.is_dir() else cluster.inventory.parent
    nodes = {node.name for node in cluster.hosts}
    found = {node.name: _by_inventory(node.name, node.power_meter, node.profile, directory) for node in cluster.hosts}
    for name, address in cluster.power_meters.by_name:
        if name in nodes or not _NAME.fullmatch(name):
            raise BadInputError(
                f"cluster_power_meters names {name[:100]!r}, which is a node or cannot be a name",
                "give a node its own node_power_meter; the others are such as switch and controller",
            )
        found[name] = read_address(name, address, directory)
    found |= dict(_by_option(each) for each in named)
    if ALL_NODES in found and ALL_NODES not in nodes:
        found = _without_nodes(found, nodes)
    _refuse_one_for_two(found)
    _refuse_emulated(cluster, found)
    things = tuple(
        Metered(name, "node" if name in nodes else "other", by) for name, by in found.items() if by is not None
    )
    return Metering(things, idle_seconds, interval_seconds)


def _by_inventory(name: str, address: str | None, profile: str | None, directory: Path) -> Meter | Fixed | None:
    if address is not None:
        return read_address(name, address, directory)
    published = PUBLISHED.get(profile or "")
    return Fixed(published.watts, "estimate", published.source, published.idle_watts) if published else None


def _by_option(text: str) -> tuple[str, Meter | Fixed]:
    name, equals, address = text.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise BadInputError(
            "--power-meter names something and where its meter is", "write --power-meter switch=shelly2://10.0.0.7/0"
        )
    by = read_address(name, address, Path())
    if isinstance(by, Plug) and "@" in address:
        raise BadInputError(
            f"--power-meter {name}: every user of this machine sees a password on the command line",
            "write the address into the inventory: node_power_meter of a node, cluster_power_meters of all else",
        )
    return name, by


def _without_nodes(
    found: Mapping[str, Meter | Fixed | None], nodes: AbstractSet[str]
) -> dict[str, Meter | Fixed | None]:
    """What is left where one meter is of all nodes: no estimates of them. Raises BadInputError where one has its own meter."""
    estimates = {name for name in nodes if isinstance(by := found[name], Fixed) and by.source == "estimate"}
    if twice := sorted(name for name in nodes - estimates if found[name] is not None):
        raise BadInputError(
            f"a meter of all nodes ({ALL_NODES}) and one of {twice[0]}: its watts would count twice",
            "leave one of them out",
        )
    return {name: by for name, by in found.items() if name not in nodes}


def _refuse_one_for_two(found: Mapping[str, Meter | Fixed | None]) -> None:
    """Raise BadInputError where two names have one channel of one plug: its watts would count twice."""
    owners: dict[tuple[str, str], str] = {}
    for name, by in found.items():
        if isinstance(by, Plug) and (owner := owners.setdefault((by.kind, by.shown), name)) != name:
            raise BadInputError(
                f"{owner} and {name} have the same power meter",
                f"a plug of all nodes has the name {ALL_NODES}: --power-meter {ALL_NODES}=ADDRESS",
            )


def _refuse_emulated(cluster: Cluster, found: Mapping[str, Meter | Fixed | None]) -> None:
    metered = [name for name, by in found.items() if isinstance(by, Plug | OwnFile)]
    if metered and (cluster.kind in _EMULATIONS or cluster.time_dilation != 1):
        raise BadInputError(
            f"{cluster.inventory} describes nodes that one machine carries: a power meter ({', '.join(metered)}) would measure "
            "that machine, not them",
            "leave it out: what the imitated board draws is estimated, or declared as watts:3.7?idle=1.4",
        )
