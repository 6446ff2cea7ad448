"""What the workers send, from the model and the parameters: exact, up to messages' headers. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import towers
from ..kvstores.allreduce import dense
from ..kvstores.parameter_server.server_shards import even_bound, in_key_order, server_loads
from ..kvstores.registration import BFLOAT16, FLOAT32, TWO_BIT
from ..models import Architecture, DenseLayer
from ..models.layers import Normalisation
from ..pipeline import Plan, planned
from ..pipeline.plan import slowness
from ..rules import RULES, Rule, cadence_of
from ..rules.average import Average
from ..rules.sgd import Sgd
from ..split import SPLIT, choice
from ..towers import TOWERS, costs
from ..towers.division import Division

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
    hides: bool
    """Whether they travel while the workers compute."""
    exact: bool
    """Whether a step is that of one worker with all the batches."""
    one_model: bool
    """Whether one model comes of it."""
    computing: float = 1.0
    """How many times as long as for its own batch, by the whole model, the slowest worker computes, or waits for computing."""


ALONE = Traffic(0.0, 0.0, 0.0, hides=False, exact=True, one_model=True)
APART = Traffic(0.0, 0.0, 0.0, hides=False, exact=False, one_model=False)


def traffic(
    architecture: Architecture, chosen: Options, *, workers: int, servers: int | None, steps: int
) -> Traffic | None:
    """What so many workers move in epochs of so many steps; None for a store or a rule of which it is not known.

    `servers` is None where there is one on every node. Raises ProgramError where the parameters contradict each other.
    """
    if plan := planned(architecture, chosen, workers):
        return _through_stages(plan, chosen.batch_size, steps)
    if workers == 1:
        return ALONE
    if chosen.kvstore == _NONE:
        return APART
    if division := towers.planned(architecture, chosen, workers):
        return _among_towers(division, chosen.batch_size, steps)
    layers = split_layers(architecture, chosen, workers)
    if layers:
        return _with_slices(architecture, layers, workers, chosen.batch_size * workers, steps)
    if chosen.kvstore == _ALLREDUCE:
        return _among_workers(architecture, chosen, workers, steps)
    if chosen.kvstore in (_SYNCHRONOUS, _ASYNCHRONOUS) and chosen.rule is None:
        return _over_servers(architecture, chosen, workers, servers or workers, steps)
    return None


def _through_stages(plan: Plan, batch: int, steps: int) -> Traffic:
    """A stage sends outputs to the next and gradients to the one before, and gets as many; at an epoch's end it tells its
    values to the others of its replica."""
    images, last = batch * plan.stages, plan.stages - 1
    sent = []
    for stage, placed in enumerate(plan.layers):
        between = math.prod(placed[0].before) * (stage > 0) + math.prod(placed[-1].after) * (stage < last)
        own = sum(array.size for layer in placed for array in layer.arrays())
        sent.append(
            images * between * _FLOAT + dense.shard_bytes(own, plan.replicas) + own * last * _FLOAT / steps,
        )
    normalises = any(
        isinstance(each.layer, Normalisation) for layers in plan.layers for one in layers for each in one.every()
    )
    return Traffic(
        float(steps), max(sent), max(sent), hides=True, exact=not normalises, one_model=True, computing=slowness(plan)
    )


def _among_towers(division: Division, batch: int, steps: int) -> Traffic:
    """What comes to branches and leaves them, for which everybody waits; sums; and, at an epoch's end, branches' values."""
    sent = costs.sent_bytes(division, batch, steps)
    return Traffic(
        float(steps), sent, sent, hides=False, exact=True, one_model=True, computing=costs.slowness(division)
    )


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
    always = cadence_of(chosen.own, chosen.synchronise_every).always
    return RULES[chosen.rule or (Sgd if always else Average).name]


def _among_workers(architecture: Architecture, chosen: Options, workers: int, steps: int) -> Traffic:
    """Sums in even shards, each worker sending all but its own, twice; and factors, which everybody sends to everybody."""
    cadence, rule = cadence_of(chosen.own, chosen.synchronise_every), rule_of(chosen)
    layers = factored(architecture, chosen, workers)
    summed = architecture.parameters() - sum(layer.size for layer in layers)
    sent = dense.shard_bytes(summed, workers, _WIDTHS[chosen.wire])
    sent += sum(dense.factor_bytes(layer, workers, chosen.batch_size * workers) for layer in layers)
    exact = cadence.always and rule is Sgd and chosen.wire == FLOAT32
    return Traffic(
        cadence.meetings(steps, chosen.epochs), sent, sent, hides=cadence.always, exact=exact, one_model=True
    )


def _with_slices(
    architecture: Architecture, layers: Sequence[DenseLayer], workers: int, images: int, steps: int
) -> Traffic:
    """Sums of what is not split; of what is, inputs, outputs and their gradients, for which everybody waits."""
    summed = architecture.parameters() - sum(layer.size for layer in layers)
    sent = dense.shard_bytes(summed, workers)
    sent += choice.split_bytes(architecture, {layer.name for layer in layers}, workers, images)
    return Traffic(float(steps), sent, sent, hides=False, exact=True, one_model=True)


def _over_servers(architecture: Architecture, chosen: Options, workers: int, servers: int, steps: int) -> Traffic:
    """Gradients to the servers, and values from them; a worker's part on its own node's server passes no link."""
    sizes, values = architecture.sizes(), architecture.parameters()
    loads = server_loads(in_key_order(sizes), servers, even_bound(sizes, servers))
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
    return Traffic(float(steps), sent, phase * (push + _FLOAT), hides=True, exact=exact, one_model=True)
