"""The nodes that advice is for: how fast each computes, its memory and its link, and where each number comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.check.memory import megabytes
from harness.errors import BadInputError
from harness.experiment.rates import Rate
from harness.nodes.inventory import Node
from harness.predict.forecast import show_rate
from harness.sweep.benchmark import load_rates
from harness.units import size_in_bytes
from harness.virtual.blueprint import Options
from harness.virtual.cpu.profile import GFLOPS_OF_AN_IMAGE, MEASURED_MODEL, board_of
from harness.virtual.link import WIFI, Link, read_link
from harness.virtual.state import cluster_of, places_of, read_record

USUAL = Options("usual")
"""What a virtual cluster has where nothing else is said, and so what is assumed here."""


@dataclass(frozen=True)
class Given:
    """What the user said of the nodes; None of what he left out. `inventory` has the nodes where there is one."""

    nodes: int | None = None
    link: str | None = None
    profile: str | None = None
    memory: str | None = None
    rates: Path | None = None
    inventory: Path | None = None
    hosts: tuple[Node, ...] = ()
    shares_medium: bool = False
    """Whether the inventory says that its nodes have no links of their own."""
    has_centre: bool | None = None
    """Whether servers are on a machine that trains nothing, as one with a cable to the access point; None: they may be."""


@dataclass(frozen=True)
class Machines:
    """The nodes, those first that are used first."""

    names: tuple[str, ...]
    profiles: tuple[str, ...]
    """Of each, where its speed is not measured."""
    memory_bytes: tuple[int, ...]
    link: Link
    sources: Mapping[str, str]
    """What each number is worth: measured, given, assumed."""

    def least_memory(self, nodes: int) -> int:
        """Of the first so many nodes, the memory of the one that has the least."""
        return min(self.memory_bytes[:nodes])


def machines(given: Given) -> Machines:
    """The nodes of an inventory, or as many as are asked for. Raises BadInputError for what cannot be."""
    count = given.nodes or len(given.hosts) or USUAL.nodes
    if given.hosts and count > len(given.hosts):
        raise BadInputError(
            f"{count} nodes asked for, but {given.inventory} has {len(given.hosts)}",
            f"ask for at most {len(given.hosts)} with --nodes, or leave the inventory out",
        )
    hosts: Sequence[Node | None] = given.hosts[:count] or [None] * count
    link, link_from = _link(given)
    usual = size_in_bytes(given.memory or USUAL.memory)
    known = [host.memory_bytes if host and not given.memory else None for host in hosts]
    memory = tuple(bytes_ or usual for bytes_ in known)
    return Machines(
        names=tuple(host.name if host else f"node{number:02d}" for number, host in enumerate(hosts, 1)),
        profiles=tuple(given.profile or (host.profile if host else None) or USUAL.profile for host in hosts),
        memory_bytes=memory,
        link=link,
        sources={
            "link": f"{_shown(link)}, {link_from}",
            "memory": f"{megabytes(min(memory))} a node, {_memory_from(given, all(known))}",
        },
    )


def measured_rates(given: Given, names: Sequence[str], subject: Mapping[str, str]) -> list[Rate]:
    """The rates of a benchmark, of the nodes of the inventory or of as many as are asked for.

    Raises BadInputError where they are of another model or data set, or of too few nodes.
    """
    rates = load_rates(Path(str(given.rates)))
    for name, value in subject.items():
        if rates.about.get(name, value) != value:
            asked = " ".join(f"--set {each}={wanted}" for each, wanted in subject.items())
            raise BadInputError(
                f"{given.rates} has the rates of {name} {rates.about[name]}, not of {value}",
                f"measure them: harness benchmark EXPERIMENT {asked}, or leave --rates out",
            )
    if given.hosts:
        return rates.of(given.hosts[: len(names)])
    found = list(rates.nodes.values())
    if len(found) < len(names):
        raise BadInputError(
            f"{given.rates} has rates of {len(found)} nodes, and {len(names)} are asked for",
            f"ask for at most {len(found)} with --nodes, or leave --rates out",
        )
    return found[: len(names)]


def assumed_rates(machines: Machines, operations: float, measured_operations: float) -> list[Rate]:
    """Rates by the nodes' profiles: each multiply-add takes as long as one of the model that the profiles are made for.

    Raises BadInputError for a profile that is none, or that limits nothing.
    """
    seconds = {profile: _image_seconds(profile) * operations / measured_operations for profile in machines.profiles}
    return [
        Rate(name, "", 0.0, seconds[profile]) for name, profile in zip(machines.names, machines.profiles, strict=True)
    ]


def assumed_from(machines: Machines, operations: float) -> str:
    """What assumed rates are assumed from, in words."""
    profiles = " and ".join(dict.fromkeys(machines.profiles))
    return (
        f"assumed: profile {profiles}, by {operations / 1e6:,.3g} million multiply-adds an image, each as long as one of"
        f" {MEASURED_MODEL}'s"
    )


def _image_seconds(profile: str) -> float:
    board = board_of(profile)
    if board is None:
        raise BadInputError(f"profile {profile} says no speed", f"name one that does, such as {USUAL.profile}")
    return GFLOPS_OF_AN_IMAGE / board.conv_gflops


def _link(given: Given) -> tuple[Link, str]:
    """What joins the nodes, and where that comes from."""
    if given.link:
        return read_link(given.link), "given"
    name = cluster_of(given.inventory) if given.inventory else None
    record = read_record(places_of(name)) if name else None
    if record:
        return read_link(record.options.link), f"of virtual cluster {name}"
    return read_link(WIFI if given.shares_medium else USUAL.link), "assumed"


def _shown(link: Link) -> str:
    if not link.shared:
        return show_rate(link.rate)
    unknown = "; its loss and latency are not counted" if link.loss or link.latency else ""
    return f"one medium of {show_rate(link.rate)} that all share, half of it from node to node{unknown}"


def _memory_from(given: Given, known: bool) -> str:
    if given.memory:
        return "given"
    return "of the inventory" if known and given.hosts else "assumed"
