"""What a cluster is to be: the user's options, completed and checked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.errors import BadInputError, ClusterError
from harness.units import bits_per_second, size_in_bytes
from harness.virtual.cpu import profile, speed
from harness.virtual.host.names import DEFAULT_SUBNET, AddressPlan, VirtualNode, nodes_of
from harness.virtual.host.rootfs import SUITES
from harness.virtual.link import CABLE_RATE, Link, read_link

UNSHAPED = "none"
MOST_DILATION = 20.0


@dataclass(frozen=True)
class Options:
    """All options of a cluster; `link` and `memory` as the user wrote them, `cpu` in cores (None: by the profile's rule).

    `suite` is the Debian release of the nodes.
    `dilation` is a factor that slows down links and processors: everything takes that many times as long, and this machine
    needs only that fraction of its speed. Reported times are divided by it. `cpu_model` is how nodes are held to their speed
    (`harness.virtual.cpu.speed.MODELS`). `node_profiles` and `node_cpus` are for single
    nodes, by name, for boards of several kinds in one cluster.
    """

    name: str
    nodes: int = 4
    link: str = CABLE_RATE
    controller_link: str = UNSHAPED
    profile: str = "pi3"
    cpu: float | None = None
    memory: str = "1GiB"
    subnet: str = DEFAULT_SUBNET
    suite: str = SUITES[0]
    dilation: float = 1.0
    cpu_model: str = speed.STRETCHED
    node_profiles: Mapping[str, str] = field(default_factory=dict)
    node_cpus: Mapping[str, float] = field(default_factory=dict)
    machines: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """By node, what `harness.virtual.machines` made of an inventory of unlike machines; empty for nodes that are alike."""

    def memory_of(self, node: str) -> str:
        """Memory of one node."""
        return str(self.machines[node]["memory"]) if node in self.machines else self.memory

    def speed_of(self, node: str) -> tuple[str, float | None]:
        """Profile and given cores (None: by the profile's rule) of one node: its own, or else the cluster's."""
        if node not in self.node_profiles and node not in self.node_cpus:
            return self.profile, self.cpu
        return self.node_profiles.get(node, self.profile), self.node_cpus.get(node)

    def board_of(self, node: str) -> str | None:
        """The profile that one node imitates; None where its cores were given instead."""
        profile, cores = self.speed_of(node)
        return profile if cores is None else None


@dataclass(frozen=True)
class ClusterRequest:
    """The options that the user gave. For those that are None a cluster keeps what it has and a new one gets the default."""

    nodes: int | None = None
    link: str | None = None
    controller_link: str | None = None
    profile: str | None = None
    cpu: float | None = None
    memory: str | None = None
    subnet: str | None = None
    suite: str | None = None
    dilation: float | None = None
    cpu_model: str | None = None
    node_profiles: Mapping[str, str] = field(default_factory=dict)
    node_cpus: Mapping[str, float] = field(default_factory=dict)
    machines: Mapping[str, Mapping[str, object]] | None = None

    def applied_to(self, options: Options) -> Options:
        """`options` with everything that was given.

        A given profile replaces an earlier `cpu`. A given profile or `cpu` also replaces all earlier settings of single
        nodes. A setting for one node replaces that node's earlier settings; removing a node drops them.
        """
        given = {name: value for name, value in vars(self).items() if value is not None}
        if self.profile is not None:
            given.setdefault("cpu", None)
        changed = replace(options, **given)
        stay = set() if self.profile or self.cpu else {node.name for node in _nodes(changed)}
        stay -= {*self.node_profiles, *self.node_cpus}
        profiles = {node: value for node, value in options.node_profiles.items() if node in stay}
        cpus = {node: value for node, value in options.node_cpus.items() if node in stay}
        return replace(
            changed, node_profiles=profiles | dict(self.node_profiles), node_cpus=cpus | dict(self.node_cpus)
        )


@dataclass(frozen=True)
class Blueprint:
    """Checked options and what follows from them: rates in bits per second (None: no limit), memory in bytes.

    Links are the imitated ones, before dilation.
    """

    options: Options
    nodes: tuple[VirtualNode, ...]
    addresses: AddressPlan
    link: Link
    controller_rate: int | None
    memory: int

    @classmethod
    def of(cls, options: Options) -> Blueprint:
        """Check `options`. Raises BadInputError for the first that is impossible."""
        if not 1.0 <= options.dilation <= MOST_DILATION:
            raise BadInputError(
                f"--dilation {options.dilation:g} is not between 1 and {MOST_DILATION:g}",
                "1 is real time; 3 gives this machine three times as long for everything",
            )
        if options.suite not in SUITES:
            raise BadInputError(f"--suite {options.suite} is unknown", f"one of these: {', '.join(SUITES)}")
        profile.check(options.profile, options.cpu, options.dilation, options.cpu_model)
        nodes = _nodes(options)
        for name in (*options.node_profiles, *options.node_cpus):
            if name not in {node.name for node in nodes}:
                raise BadInputError(
                    f"virtual cluster {options.name} is to have no node {name!r}", f"name one up to {nodes[-1].name}"
                )
            profile.check(*options.speed_of(name), options.dilation, options.cpu_model)
        controller = options.controller_link
        return cls(
            options=options,
            nodes=nodes,
            addresses=AddressPlan.of(options.subnet),
            link=read_link(options.link),
            controller_rate=None if controller == UNSHAPED else bits_per_second(controller),
            memory=size_in_bytes(options.memory),
        )

    @property
    def rate(self) -> int:
        """Bits per second of a node's cable, or of the medium that all share."""
        return self.link.rate

    def memory_of(self, node: str) -> int:
        """Memory of one node, in bytes."""
        return size_in_bytes(self.options.memory_of(node))

    def slowed(self, rate: int) -> int:
        """`rate` slowed down by the dilation: what the link is really limited to."""
        return round(rate / self.options.dilation)

    def mark(self, link: str) -> str:
        """The text kept on a port limited to `link`: everything that its limit depends on."""
        return link if self.options.dilation == 1 or link == UNSHAPED else f"{link}/{self.options.dilation:g}"

    def node(self, name: str) -> VirtualNode:
        """The node called `name`; BadInputError when there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise BadInputError(f"virtual cluster {self.options.name} has no node {name!r}", "see `harness cluster status`")


def _nodes(options: Options) -> tuple[VirtualNode, ...]:
    return tuple(nodes_of(options.name, options.nodes, options.subnet))


def designed(name: str, request: ClusterRequest, before: Options | None) -> Blueprint:
    """The blueprint of a cluster with the options `before` (None for a new one), changed as `request` asks.

    Raises BadInputError for impossible options, ClusterError for options that cannot change while the cluster is up.
    """
    blueprint = Blueprint.of(request.applied_to(before or Options(name)))
    if before is not None:
        for what, has, wanted in (
            ("addresses", before.subnet, blueprint.options.subnet),
            ("nodes of Debian", before.suite, blueprint.options.suite),
        ):
            if has != wanted:
                raise ClusterError(
                    f"virtual cluster {name} is up with {what} {has}", f"run `harness cluster down --name {name}` first"
                )
    return blueprint
