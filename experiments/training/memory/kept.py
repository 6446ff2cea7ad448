"""What stores, rules and a worker's own steps keep beside a model's values and gradients, in float32 values. Pure.

Each is the size of an array that the code named allocates: `Exchange` has a place for everybody's part of a shard, all
shards together one copy of the buffer; their sum is a shard more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..estimates.traffic import rule_of
from ..kvstores.ddp import is_baseline
from ..kvstores.registration import BFLOAT16
from ..models import DenseLayer
from ..options import Options
from ..rules import cadence_of, keeps_apart
from ..rules.common import Method
from ..rules.downpour import Downpour


@dataclass(frozen=True)
class Kept:
    """Values that lie in memory all the time, and those that come and go: never both of these."""

    always: float = 0.0
    in_step: float = 0.0
    """While values are made new."""
    between: float = 0.0
    """Between epochs."""

    def __add__(self, other: Kept) -> Kept:
        """Both; the steps on two buffers are one after the other."""
        return Kept(self.always + other.always, max(self.in_step, other.in_step), self.between + other.between)

    @property
    def most(self) -> float:
        """At the worst moment."""
        return self.always + max(self.in_step, self.between)


def of_steps(values: float, chosen: Options) -> Kept:
    """Of a worker that steps on so many values by itself: `Descent`'s velocity and scratch."""
    method = Method.of(chosen.own)
    return Kept(values if method.momentum else 0.0, values if method.scratch else 0.0)


def of_sums(values: float, workers: int, chosen: Options) -> Kept:
    """Of so many values in a buffer that workers add up by a rule: `Part`'s."""
    rule, rounded = rule_of(chosen), chosen.wire == BFLOAT16
    merged = values if rounded else values / workers
    stepped = of_steps(values if rule.local else merged, chosen)
    apart = values if keeps_apart(rule, cadence_of(chosen.own, chosen.synchronise_every)) else 0.0
    kept = Kept(rule.copies * values + rule.slice_copies * merged + apart + stepped.always, between=apart)
    if chosen.own.get("meet_delay"):
        kept += Kept(values)  # what a worker had when it offered them
    if workers == 1 and not rounded:
        return kept + Kept(in_step=stepped.in_step)
    added = values + values / workers if rounded else merged  # in float32, the numbers of all workers too
    if rule.local:  # it has stepped before
        return kept + Kept(values, max(stepped.in_step, added))
    return kept + Kept(values, added + stepped.in_step)


def of_factors(layers: Sequence[DenseLayer], images: int, chosen: Options) -> Kept:
    """Of dense layers whose factors everybody has of so many images: `Factors`'s."""
    rows = sum(images * (layer.inputs + layer.units) for layer in layers)
    steps = [of_steps(layer.size, chosen) for layer in layers]
    return sum(steps, Kept(rows))


def of_store(values: int, chosen: Options, workers: int, layers: Sequence[DenseLayer]) -> Kept:
    """Of workers that all have the whole model of so many values; these layers' gradients travel as factors."""
    if chosen.kvstore == "none":
        return of_steps(values, chosen)
    baseline = chosen.engine == "torch" and is_baseline(chosen.rule, chosen.own)
    if chosen.kvstore == "allreduce" and not baseline:
        summed = values - sum(layer.size for layer in layers)
        return of_sums(summed, workers, chosen) + of_factors(layers, chosen.batch_size * workers, chosen)
    received = Kept(values)  # sums, or the servers' values
    if chosen.rule == Downpour.name:
        return received + Kept(Downpour.copies * values, between=values)
    return received + of_steps(values, chosen)
