"""Which ranks of a trial run on which nodes, with which command and environment. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.errors import BadInputError
from harness.inventory import Node
from harness.plan import Trial, arguments, needs_parameter_servers
from harness.rates import Rates, share

Role = Literal["scheduler", "server", "worker"]

# Trials of one run use ports in turn, so that a socket left over by one cannot be met by the next.
PORTS = 100

CommandOf = Callable[[Node], tuple[str, ...]]


@dataclass(frozen=True)
class Rank:
    """One process of a trial."""

    role: Role
    number: int
    node: Node
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # holds the trial's token

    @property
    def name(self) -> str:
        """`worker3`; also the name of its log."""
        return f"{self.role}{self.number}"


@dataclass(frozen=True)
class Placement:
    """All ranks of a trial, the scheduler first."""

    trial: Trial
    ranks: tuple[Rank, ...]
    batch_sizes: tuple[int, ...] = ()
    """Each worker's images of a step, in launch order, where they share by rate."""

    def on(self, node: Node) -> list[Rank]:
        """The ranks that run on one node."""
        return [rank for rank in self.ranks if rank.node.name == node.name]

    def with_role(self, role: Role) -> list[Rank]:
        """The ranks of one role, by number."""
        return [rank for rank in self.ranks if rank.role == role]

    @property
    def nodes(self) -> list[Node]:
        """The nodes that have a rank, in placement order."""
        return list({rank.node.name: rank.node for rank in self.ranks}.values())


def place_trial(
    trial: Trial, nodes: Sequence[Node], port: int, code: str, token: str, rates: Rates | None = None
) -> Placement:
    """Place one worker on each of the trial's nodes.

    `code` is the hash that names the experiment code's directory on the nodes, `token` a secret of this trial, `rates` what
    a trial with batches by rate shares them by. Raises BadInputError where the trial wants more servers than it has nodes,
    or rates that there are not.
    """
    if trial.server_count > len(nodes):
        raise BadInputError(
            f"trial {trial.id}: {trial.server_count} servers on {len(nodes)} nodes", "at most one server a node"
        )

    def command(node: Node) -> tuple[str, ...]:
        return (
            f"{node.root}/runtime/bin/python",
            f"{node.root}/code/{code}/{trial.program}",
            *arguments(trial.parameters),
        )

    sizes = _batch_sizes(trial, nodes, rates)
    shared = {"HARNESS_BATCH_SIZES": ",".join(map(str, sizes))} if sizes else {}
    placement = place(
        trial,
        nodes,
        workers=trial.nodes,
        servers=trial.server_count,
        scheduler=needs_parameter_servers(trial.parameters),
        port=port,
        command=command,
        environment={**trial.environment, **shared},
        token=token,
    )
    return replace(placement, batch_sizes=sizes)


def _batch_sizes(trial: Trial, nodes: Sequence[Node], rates: Rates | None) -> tuple[int, ...]:
    """How the trial's workers share its global batch, `batch_size` for each of them; nothing where they do it evenly."""
    if trial.batches == "even":
        return ()
    batch_size = trial.parameters.get("batch_size")
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise BadInputError(f"trial {trial.id} shares batches by rate, but has no parameter batch_size", "give it one")
    if rates is None:
        raise BadInputError(
            f"trial {trial.id} shares batches by rate, but no rates are given",
            "measure them with harness benchmark, and name its run with --batches-by-rate",
        )
    return share(batch_size * len(nodes), rates.of(nodes))


def place(
    trial: Trial,
    nodes: Sequence[Node],
    *,
    workers: int,
    servers: int,
    scheduler: bool,
    port: int,
    command: CommandOf,
    environment: Mapping[str, str],
    token: str,
) -> Placement:
    """Spread workers and servers over the nodes in turn; the scheduler and worker 0 share the first node.

    Every rank gets ps-lite's environment and ours; see `docs/design.md`, A rank.
    """
    root = nodes[0]
    common = {
        "DMLC_PS_ROOT_URI": root.address,
        "DMLC_PS_ROOT_PORT": str(port),
        "DMLC_NUM_WORKER": str(workers),
        "DMLC_NUM_SERVER": str(servers),
        "HARNESS_TRIAL_TOKEN": token,
        "PYTHONUNBUFFERED": "1",
        **environment,
    }

    def rank(role: Role, number: int) -> Rank:
        node = nodes[number % len(nodes)]
        threads = (
            {} if node.threads is None else {"OMP_NUM_THREADS": str(node.threads)}
        )  # the experiment's goes before it
        own = {"DMLC_ROLE": role, "DMLC_NODE_HOST": node.address, "HARNESS_DATA": f"{node.root}/data"}
        if role == "worker":
            own["HARNESS_WORKER_RANK"] = str(number)
        return Rank(role, number, node, command(node), {**threads, **common, **own})

    ranks = [rank("scheduler", 0)] if scheduler else []
    ranks += [rank("server", number) for number in range(servers)]
    ranks += [rank("worker", number) for number in range(workers)]
    return Placement(trial, tuple(ranks))
