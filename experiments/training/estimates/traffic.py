"""What the workers send, from the model and the parameters: exact, up to messages' headers. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .. import towers
from ..engines.normalisation import synchronised
from ..kvstores.allreduce import dense
from ..kvstores.allreduce.shards import split
from ..kvstores.parameter_server.server_shards import even_bound, in_key_order, server_loads
from ..kvstores.registration import BFLOAT16, FLOAT32, TWO_BIT
from ..models import Architecture, DenseLayer
from ..models.architecture import PlacedLayer
from ..models.layers import Normalisation
from ..pipeline import Plan, planned
from ..rules import Rule, cadence_of, chosen_rule
from ..rules.sgd import Sgd
from ..split import SPLIT, choice
from ..towers import TOWERS, costs
from ..towers.division import Division
from .computing import Multiples, Work

if TYPE_CHECKING:
    from ..options import Options

_NONE, _ALLREDUCE, _SYNCHRONOUS, _ASYNCHRONOUS = "none", "allreduce", "dist_sync", "dist_async"
_TORCH = "torch"
_FLOAT = 4
_WIDTHS = {FLOAT32: 4.0, BFLOAT16: 2.0, TWO_BIT: 0.25}
"""Bytes of a value on its way to where it is added up, by `--wire`."""


@dataclass(frozen=True)
class Traffic:
    """What the workers of a trial move."""

    meetings: float
    """In an epoch, on average; in every step, where there are as many as steps."""
    sent_bytes: float
    """In a meeting, by the node that sends most, or receives where that is more."""
    phased_bytes: float
    """Of them those that pass one link one after the other: what goes out before anything can come back, and what comes
    back."""
    hides: float
    """Behind which part of computing those can travel that are not shown."""
    exact: bool
    """Whether a step is that of one worker with all the batches."""
    one_model: bool
    """Whether one model comes of it."""
    shown_bytes: float = 0.0
    """Of the phased ones those that travel while nobody computes."""
    told_bytes: float = 0.0
    """Sent beside, once an epoch, when its steps are done; by the node that sends most."""
    total_bytes: float | None = None
    """In a meeting, from node to node, of all workers and servers together; None where all nodes send as much."""
    among: int | None = None
    """Workers that send to each other at once; None: all."""
    outside_bytes: float | None = None
    """In a meeting, between all workers and servers that have machines of their own; None where there are no servers."""
    requests: int = 0
    """Pushes and pulls of a worker that parameter servers answer, each by itself."""
    images: float = 1.0
    """How many times as long as for its own batch, by the whole model, the slowest worker computes for images, or waits for
    computing."""
    fixed: float = 1.0
    """The same of what a step takes whatever its images."""


ALONE = Traffic(0.0, 0.0, 0.0, hides=0.0, exact=True, one_model=True)
APART = Traffic(0.0, 0.0, 0.0, hides=0.0, exact=False, one_model=False)


def traffic(
    architecture: Architecture, chosen: Options, *, workers: int, servers: int | None, steps: int
) -> Traffic | None:
    """What so many workers move in epochs of so many steps; None for what it is not known of: a store, a rule, statistics that
    are synchronised.

    `servers` is None where there is one on every node. Raises ProgramError where the parameters contradict each other.
    """
    work = Work(architecture, chosen.batch_size, chosen.accumulate)
    if plan := planned(architecture, chosen, workers):
        return _through_stages(plan, work, steps)
    if workers == 1:
        return ALONE
    if chosen.kvstore == _NONE:
        return APART
    if division := towers.planned(architecture, chosen, workers):
        return _among_towers(division, work, steps)
    layers = split_layers(architecture, chosen, workers)
    if layers:
        return _with_slices(work, layers, workers, steps)
    waits = synchronised(chosen.own)  # for many small messages, which is no matter of bytes
    if chosen.kvstore == _ALLREDUCE and not waits:
        return _among_workers(work, chosen, workers, steps)
    if chosen.kvstore in (_SYNCHRONOUS, _ASYNCHRONOUS) and chosen.rule is None:
        return _over_servers(architecture, chosen, workers, servers or workers, steps)
    return None


def _through_stages(plan: Plan, work: Work, steps: int) -> Traffic:
    """A stage sends outputs to the next and gradients to the one before, and gets as many; at an epoch's end it tells its
    values to the others of its replica."""
    images, last = work.images * plan.stages, plan.stages - 1
    sent = []
    for stage, placed in enumerate(plan.layers):
        between = math.prod(placed[0].before) * (stage > 0) + math.prod(placed[-1].after) * (stage < last)
        own = _values(placed)
        sent.append(
            images * between * _FLOAT + dense.shard_bytes(own, plan.replicas) + own * last * _FLOAT / steps,
        )
    normalises = any(
        isinstance(each.layer, Normalisation) for layers in plan.layers for one in layers for each in one.every()
    )
    return Traffic(
        float(steps), max(sent), max(sent), hides=0.0, exact=not normalises, one_model=True,
        total_bytes=plan.replicas * sum(sent), among=plan.replicas, **asdict(work.in_stages(plan)),
    )  # fmt: skip


def _among_towers(division: Division, work: Work, steps: int) -> Traffic:
    """What comes to branches and leaves them, for which everybody waits; sums; and, at an epoch's end, branches' values."""
    groups, sent = division.groups, costs.sent_bytes(division, work.images)
    return Traffic(
        float(steps), max(sent), max(sent), hides=0.0, exact=True, one_model=True, total_bytes=groups.count * sum(sent),
        told_bytes=costs.told_bytes(division), **asdict(work.in_towers(division)),
    )  # fmt: skip


def split_layers(architecture: Architecture, chosen: Options, workers: int) -> list[DenseLayer]:
    """The dense layers whose outputs the workers share. Raises ProgramError where none can be, or is worth it."""
    if chosen.own.get("strategy") != SPLIT:
        return []
    return choice.chosen(architecture, workers, chosen.batch_size * workers, str(chosen.own["split_layers"]))


def factored(architecture: Architecture, chosen: Options, workers: int) -> list[DenseLayer]:
    """The dense layers whose gradients travel as factors. Raises ProgramError where the parameters contradict each other."""
    how = str(chosen.own.get("dense_gradients") or dense.AUTO)
    if how == dense.AUTO and chosen.engine == _TORCH and chosen.rule is None:
        how = dense.SUM  # by DistributedDataParallel
    sums = chosen.kvstore == _ALLREDUCE and chosen.accumulate == 1 and chosen.wire == FLOAT32
    sums = sums and chosen.own.get("strategy") not in (SPLIT, TOWERS)
    if (
        not sums
        or not cadence_of(chosen.own, chosen.synchronise_every).always
        or rule_of(chosen).offer is not Sgd.offer
    ):
        return []
    return dense.chosen(architecture.dense_layers(), workers, chosen.batch_size * workers, how)


def rule_of(chosen: Options) -> type[Rule]:
    """As the store allreduce chooses it."""
    return chosen_rule(chosen.rule, cadence_of(chosen.own, chosen.synchronise_every))


def _among_workers(work: Work, chosen: Options, workers: int, steps: int) -> Traffic:
    """Sums in even shards, each worker sending all but its own, twice; and factors, which everybody sends to everybody."""
    cadence, rule, architecture = cadence_of(chosen.own, chosen.synchronise_every), rule_of(chosen), work.architecture
    layers = factored(architecture, chosen, workers)
    width = _WIDTHS[chosen.wire]
    summed = architecture.parameters() - sum(layer.size for layer in layers)
    sent = dense.shard_bytes(summed, workers, width)
    sent += sum(dense.factor_bytes(layer, workers, chosen.batch_size * workers) for layer in layers)
    # Of two buffers the first one's gradients are ready last, and its values are wanted first: nothing hides them.
    first = _first_buffer(architecture) if cadence.always else tuple(architecture.placed)
    own = _values(first) - sum(layer.size for layer in layers if layer.name in {each.name for each in first})
    return Traffic(
        cadence.meetings(steps, chosen.epochs),
        sent,
        sent,
        hides=work.share(first) if cadence.always else 0.0,
        exact=cadence.always and rule is Sgd and chosen.wire == FLOAT32,
        one_model=True,
        shown_bytes=dense.shard_bytes(own, workers, width) if cadence.always else sent,
        **asdict(_multiples(work, chosen, layers, workers)),
    )


def _multiples(work: Work, chosen: Options, layers: Sequence[DenseLayer], workers: int) -> Multiples:
    """How much longer the workers compute, where they meet in every step."""
    if not cadence_of(chosen.own, chosen.synchronise_every).always:
        return Multiples()
    return work.with_halves() if chosen.wire == BFLOAT16 else work.with_factors(layers, workers)


def _first_buffer(architecture: Architecture) -> tuple[PlacedLayer, ...]:
    """The layers of the first of two buffers; all, where there is one."""
    counts = architecture.aligned(split(architecture.sizes()))
    return architecture.parts(counts)[0]


def _values(layers: Sequence[PlacedLayer]) -> int:
    return sum(array.size for layer in layers for array in layer.arrays())


def _with_slices(work: Work, layers: Sequence[DenseLayer], workers: int, steps: int) -> Traffic:
    """Sums of what is not split; of what is, inputs, outputs and their gradients, for which everybody waits. At an epoch's end
    everybody gets all of what is split."""
    architecture, shared = work.architecture, sum(layer.size for layer in layers)
    sent = dense.shard_bytes(architecture.parameters() - shared, workers)
    sent += choice.split_bytes(architecture, {layer.name for layer in layers}, workers, work.images * workers)
    return Traffic(
        float(steps), sent, sent, hides=0.0, exact=True, one_model=True,
        told_bytes=shared / workers * (workers - 1) * _FLOAT, **asdict(work.with_slices(layers, workers)),
    )  # fmt: skip


def _over_servers(architecture: Architecture, chosen: Options, workers: int, servers: int, steps: int) -> Traffic:
    """Gradients to the servers, and values from them; a worker's part on its own node's server passes no link."""
    sizes, values = architecture.sizes(), architecture.parameters()
    bound = even_bound(sizes, servers)
    loads = server_loads(in_key_order(sizes), servers, bound)
    if servers < workers:
        loads.append(0)  # a node without a server
    push = _WIDTHS[chosen.wire]
    given = [values - load for load in loads]
    taken = [load * (workers - 1) for load in loads]
    sent = max(
        max(out * push + back * _FLOAT, back * push + out * _FLOAT) for out, back in zip(given, taken, strict=True)
    )
    phase = max(*given, *taken)
    exact = chosen.kvstore == _SYNCHRONOUS and chosen.wire == FLOAT32
    slices = sum(servers if size >= bound else 1 for size in sizes)
    return Traffic(
        float(steps), sent, phase * (push + _FLOAT), hides=0.0, exact=exact, one_model=True,
        total_bytes=values * (workers - 1) * (push + _FLOAT), outside_bytes=values * workers * (push + _FLOAT),
        requests=2 * slices,
    )  # fmt: skip
