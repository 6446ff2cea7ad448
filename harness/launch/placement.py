"""Which ranks of a trial run on which nodes, with which command and environment. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.contract import wire
from harness.errors import BadInputError
from harness.experiment.plan import Trial, arguments
from harness.experiment.program import Role
from harness.experiment.rates import Rates, share
from harness.launch.frameworks import FRAMEWORKS
from harness.launch.frameworks.base import Environment, Framework, Job, Seat
from harness.nodes.inventory import Cluster, Node

# Trials of one run use ports in turn, so that a socket left over by one cannot be met by the next.
PORTS = 100

CommandOf = Callable[[Node], tuple[str, ...]]


@dataclass(frozen=True)
class Rank:
    """One process of a trial."""

    role: str
    number: int
    node: Node
    command: tuple[str, ...]
    environment: Mapping[str, str | None] = field(repr=False)  # holds the trial's token
    declared: Role = field(default_factory=Role)
    """What its role is declared to be."""
    leaves: tuple[str, ...] = ()
    """Files of its working directory that are kept with the trial."""

    @property
    def name(self) -> str:
        """`worker3`; also the name of its log."""
        return f"{self.role}{self.number}"

    @property
    def finishes(self) -> bool:
        """Whether the trial waits for its end, rather than stopping it."""
        return self.declared.ends == "finishes"


@dataclass(frozen=True)
class Placement:
    """All ranks of a trial, in the order of its program's roles."""

    trial: Trial
    ranks: tuple[Rank, ...]
    batch_sizes: tuple[int, ...] = ()
    """Each worker's images of a step, in launch order, where they share by rate."""
    framework: Framework = FRAMEWORKS["plain"]

    def on(self, node: Node) -> list[Rank]:
        """The ranks that run on one node."""
        return [rank for rank in self.ranks if rank.node.name == node.name]

    def with_role(self, role: str) -> list[Rank]:
        """The ranks of one role, by number."""
        return [rank for rank in self.ranks if rank.role == role]

    @property
    def finishing(self) -> list[Rank]:
        """The ranks whose end the trial waits for."""
        return [rank for rank in self.ranks if rank.finishes]

    @property
    def nodes(self) -> list[Node]:
        """The nodes that have a rank, in placement order."""
        return list({rank.node.name: rank.node for rank in self.ranks}.values())


@dataclass(frozen=True)
class SentCode:
    """Where code lies on every node, below its directory of code."""

    agent: str
    """The packaged code, with the agent and the package `training`."""
    programs: Mapping[str, str]
    """Each program's file, by the name that experiments give it."""


@dataclass(frozen=True)
class RolePlacement:
    """The ranks of one role: what they are, and the node of each."""

    name: str
    role: Role
    nodes: tuple[Node, ...]


def place_trial(
    trial: Trial,
    nodes: Sequence[Node],
    port: int,
    code: SentCode,
    token: str,
    rates: Rates | None = None,
    cluster: Cluster | None = None,
) -> Placement:
    """Place the ranks that the trial's program declares on the trial's nodes, and on hosts of the cluster that it names.

    `token` is a secret of this trial, `rates` what a trial with batches by rate shares them by. Raises BadInputError where the
    trial wants more ranks of a role than there are nodes for it, less than none or none that finishes, a host that is not
    there, or rates that are not given.
    """

    def command(node: Node) -> tuple[str, ...]:
        path = f"{node.root}/code/{code.programs[trial.program.name]}"
        words = arguments(trial.program.passed(trial.parameters))
        if not path.endswith(".py"):
            return (path, *words)
        installed = trial.program.runtime and not node.controller
        return (*((interpreter(node, trial.program.runs_in),) if installed else node.interpreter), path, *words)

    roles = [_role_placement(trial, name, role, nodes, cluster) for name, role in trial.roles.items()]
    if not any(each.nodes for each in roles if each.role.ends == "finishes"):
        raise BadInputError(
            f"trial {trial.id}: {trial.program.name} has no rank that finishes with these parameters, so it would not end",
            f"harness programs {trial.program.name} shows how many ranks each role has, and when",
        )
    sizes = _batch_sizes(trial, nodes, rates)
    shared = {wire.BATCH_SIZES: ",".join(map(str, sizes))} if sizes else {}
    placement = place(
        trial,
        roles,
        framework=FRAMEWORKS[trial.program.framework],
        port=port,
        command=command,
        environment={**trial.environment, **shared},
        token=token,
        code=code.agent,
    )
    files = trial.program.files_of(trial.parameters)
    ranks = tuple(
        replace(rank, leaves=files.get(rank.role, ())) if rank.number == 0 else rank for rank in placement.ranks
    )
    return replace(placement, batch_sizes=sizes, ranks=ranks)


def interpreter(node: Node, environment: str) -> str:
    """The Python of one of a node's environments."""
    where = (
        wire.RUNTIME_DIRECTORY if environment == wire.RUNTIME_DIRECTORY else f"{wire.RUNTIMES_DIRECTORY}/{environment}"
    )
    return f"{node.root}/{where}/bin/python"


def _role_placement(
    trial: Trial, name: str, role: Role, nodes: Sequence[Node], cluster: Cluster | None
) -> RolePlacement:
    places = _places(trial, name, role, nodes, cluster)
    count = trial.program.count_of(role, trial.parameters)
    if count is not None and role.on.endswith("each") and count > len(places):
        raise BadInputError(
            f"trial {trial.id}: {count} {name}s on {len(places)} nodes", f"at most one {name} a node"
        )  # fmt: skip
    if count is not None and count < 0:
        raise BadInputError(
            f"trial {trial.id}: parameter {role.count}: there cannot be {count} {name}s", "ask for 0 or more"
        )
    return RolePlacement(name, role, spread(len(places) if count is None else count, places))


def _places(trial: Trial, name: str, role: Role, nodes: Sequence[Node], cluster: Cluster | None) -> tuple[Node, ...]:
    """The nodes that a role is on."""
    *others, last = role.on.split("|")
    hosts = cluster.hosts if cluster else ()
    for place in others:
        if found := _nodes_at(place, nodes, hosts, cluster):
            return found
    kind = last.partition(":")[0]
    if kind == "controller" and any(node.name == kind for node in hosts):
        raise BadInputError(
            f"trial {trial.id}: role {name} is on the controller, but a host of the inventory has that name",
            "give the host another name in the inventory",
        )
    found = _nodes_at(last, nodes, hosts, cluster)
    if not found:
        raise BadInputError(
            f"trial {trial.id}: role {name} is on {role.on}, but the inventory has no such {kind}",
            "name a host or a group of the inventory's nodes in the program's description",
        )
    return found


def _nodes_at(place: str, nodes: Sequence[Node], hosts: Sequence[Node], cluster: Cluster | None) -> tuple[Node, ...]:
    kind, _, which = place.partition(":")
    return {
        "each": tuple(nodes),
        "first": tuple(nodes[:1]),
        "controller": (cluster.controller,) if cluster else (),
        "host": tuple(node for node in hosts if node.name == which),
        "group": tuple(node for node in hosts if which in node.groups),
    }[kind]


def spread(count: int, nodes: Sequence[Node]) -> tuple[Node, ...]:
    """The nodes of so many ranks, in turn."""
    return tuple(nodes[number % len(nodes)] for number in range(count))


def _batch_sizes(trial: Trial, nodes: Sequence[Node], rates: Rates | None) -> tuple[int, ...]:
    """How the trial's workers share its global batch; nothing where they do it evenly."""
    if trial.batches == "even":
        return ()
    if trial.batch is None:
        raise BadInputError(
            f"trial {trial.id} shares batches by rate, but {trial.program.name} has no parameter for a batch",
            "name it under `batch` in the program's description",
        )
    if rates is None:
        raise BadInputError(
            f"trial {trial.id} shares batches by rate, but no rates are given",
            "measure them with harness benchmark, and name its run with --batches-by-rate",
        )
    return share(trial.batch * len(nodes), rates.of(nodes))


def place(
    trial: Trial,
    roles: Iterable[RolePlacement],
    *,
    framework: Framework,
    port: int,
    command: CommandOf,
    environment: Mapping[str, str],
    token: str,
    code: str | None = None,
) -> Placement:
    """Give every rank its command and its environment: the neutral names and the framework's; `docs/reference/ranks.md`.

    The root is the first rank's node. `code` names the packaged code's directory on the nodes, for programs that import it.
    """
    roles = list(roles)
    counts = {each.name: len(each.nodes) for each in roles}
    seats = [(each, number, node) for each in roles for number, node in enumerate(each.nodes)]
    root = seats[0][2].address
    job = Job(root, port, counts, {each.name: each.nodes[0].address for each in roles if each.nodes}, token)
    common: Environment = {
        wire.TRIAL_TOKEN: token,
        wire.ROOT_ADDRESS: root,
        wire.ROOT_PORT: str(port),
        "PYTHONUNBUFFERED": "1",
    }
    local: Counter[tuple[str, str]] = Counter()
    beside = Counter((each.name, node.name) for each, _, node in seats)
    ranks = []
    for each, number, node in seats:
        here = (each.name, node.name)
        seat = Seat(each.name, number, local[here], beside[here], node.address)
        local[here] += 1
        complete = {
            **_of_node(node, code),
            **framework.shared(job, each.name),
            **common,
            **environment,
            **_own(seat, node, counts[each.name]),
            **framework.own(job, seat),
        }
        ranks.append(Rank(each.name, number, node, command(node), complete, each.role))
    return Placement(trial, tuple(ranks), framework=framework)


def _of_node(node: Node, code: str | None) -> Environment:
    """What a node's ranks find unless the experiment says otherwise."""
    threads = {} if node.threads is None else {"OMP_NUM_THREADS": str(node.threads)}
    return {**threads, **({"PYTHONPATH": f"{node.root}/code/{code}"} if code else {})}


def _own(seat: Seat, node: Node, count: int) -> Environment:
    """Which rank it is, and what its node has; nothing goes before it."""
    known = {wire.CORES: node.cores, wire.MEMORY_BYTES: node.memory_bytes}
    return {
        wire.ROLE: seat.role,
        wire.RANK: str(seat.number),
        wire.WORLD_SIZE: str(count),
        wire.NODE: node.name,
        wire.NODE_ADDRESS: node.address,
        wire.DATA: f"{node.root}/data",
        **{name: str(value) for name, value in known.items() if value is not None},
    }
