"""What a cluster shall be: the user's options, completed and checked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.errors import BadInputError, ClusterError
from harness.virtual import profile
from harness.virtual.names import DEFAULT_SUBNET, AddressPlan, Node, nodes_of
from harness.virtual.units import bits_per_second, size_in_bytes

UNSHAPED = "none"
MOST_DILATION = 20.0


@dataclass(frozen=True)
class Options:
    """What is asked for; `link` and `memory` in the user's words, `cpu` in cores (None: by the profile's rule).

    `dilation` slows links and processors down by one factor: all that happens takes so many times as long, and this machine
    has so many times as much to spare. Times are divided by it before they are written down. `node_profiles` and `node_cpus`
    are for single nodes, by name: boards of several kinds in one cluster.
    """

    name: str
    nodes: int = 4
    link: str = "100mbit"
    controller_link: str = UNSHAPED
    profile: str = "pi3"
    cpu: float | None = None
    memory: str = "1GiB"
    subnet: str = DEFAULT_SUBNET
    dilation: float = 1.0
    node_profiles: Mapping[str, str] = field(default_factory=dict)
    node_cpus: Mapping[str, float] = field(default_factory=dict)

    def speed_of(self, node: str) -> tuple[str, float | None]:
        """Profile and given cores (None: by the profile's rule) of one node: its own, or else the cluster's."""
        if node not in self.node_profiles and node not in self.node_cpus:
            return self.profile, self.cpu
        return self.node_profiles.get(node, self.profile), self.node_cpus.get(node)


@dataclass(frozen=True)
class Wishes:
    """What the user said; None where nothing was said: the cluster then stays as it is, a new one gets the default."""

    nodes: int | None = None
    link: str | None = None
    controller_link: str | None = None
    profile: str | None = None
    cpu: float | None = None
    memory: str | None = None
    subnet: str | None = None
    dilation: float | None = None
    node_profiles: Mapping[str, str] = field(default_factory=dict)
    node_cpus: Mapping[str, float] = field(default_factory=dict)

    def applied_to(self, options: Options) -> Options:
        """`options` with everything that was said.

        A profile that was said ends an earlier `cpu`; either ends what was said of single nodes, which they had instead; and
        what was said of a node ends what was said of it before, as does its removal.
        """
        said = {name: value for name, value in vars(self).items() if value is not None}
        if self.profile is not None:
            said.setdefault("cpu", None)
        changed = replace(options, **said)
        stay = set() if self.profile or self.cpu else {node.name for node in _nodes(changed)}
        stay -= {*self.node_profiles, *self.node_cpus}
        profiles = {node: value for node, value in options.node_profiles.items() if node in stay}
        cpus = {node: value for node, value in options.node_cpus.items() if node in stay}
        return replace(
            changed, node_profiles=profiles | dict(self.node_profiles), node_cpus=cpus | dict(self.node_cpus)
        )


@dataclass(frozen=True)
class Blueprint:
    """Options, checked, with what follows from them: rates in bits per second (None: no limit), memory in bytes.

    Rates are the imitated ones, before dilation.
    """

    options: Options
    nodes: tuple[Node, ...]
    addresses: AddressPlan
    rate: int
    controller_rate: int | None
    memory: int

    @classmethod
    def of(cls, options: Options) -> Blueprint:
        """Check `options`; BadInputError names the first that cannot be."""
        if not 1.0 <= options.dilation <= MOST_DILATION:
            raise BadInputError(
                f"--dilation {options.dilation:g} is not between 1 and {MOST_DILATION:g}",
                "1 is real time; 3 gives this machine three times as long for everything",
            )
        profile.check(options.profile, options.cpu, options.dilation)
        nodes = _nodes(options)
        for name in (*options.node_profiles, *options.node_cpus):
            if name not in {node.name for node in nodes}:
                raise BadInputError(
                    f"virtual cluster {options.name} is to have no node {name!r}", f"name one up to {nodes[-1].name}"
                )
            profile.check(*options.speed_of(name), options.dilation)
        controller = options.controller_link
        return cls(
            options=options,
            nodes=nodes,
            addresses=AddressPlan.of(options.subnet),
            rate=bits_per_second(options.link),
            controller_rate=None if controller == UNSHAPED else bits_per_second(controller),
            memory=size_in_bytes(options.memory),
        )

    def slowed(self, rate: int) -> int:
        """`rate` in the dilated time, as links are shaped."""
        return round(rate / self.options.dilation)

    def mark(self, link: str) -> str:
        """What a port shaped for `link` is marked with: whatever its shape follows from."""
        return link if self.options.dilation == 1 or link == UNSHAPED else f"{link}/{self.options.dilation:g}"

    def node(self, name: str) -> Node:
        """The node called `name`; BadInputError when there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise BadInputError(f"virtual cluster {self.options.name} has no node {name!r}", "see `harness cluster status`")


def _nodes(options: Options) -> tuple[Node, ...]:
    return tuple(nodes_of(options.name, options.nodes, options.subnet))


def designed(name: str, wishes: Wishes, before: Options | None) -> Blueprint:
    """The blueprint that `wishes` make of the cluster as it is (`before`, None for a new one).

    Raises BadInputError for what cannot be, ClusterError for what cannot change while the cluster is up.
    """
    blueprint = Blueprint.of(wishes.applied_to(before or Options(name)))
    if before is not None and before.subnet != blueprint.options.subnet:
        raise ClusterError(
            f"virtual cluster {name} is up with addresses {before.subnet}",
            f"run `harness cluster down --name {name}` first",
        )
    return blueprint
