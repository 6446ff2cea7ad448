"""Which arrays share a buffer, and where in it each lies. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from ..datasets import Dataset
from ..models import Architecture, DenseLayer, Weights
from ..sharding import Shares

if TYPE_CHECKING:
    from ..kvstores.base import KVStore
    from ..split.parts import Plan
    from .normalisation import Gather


@dataclass(frozen=True)
class Factored:
    """A dense layer whose gradient is left as its factors, and where its arrays lie in their flat buffer, side by side."""

    layer: DenseLayer
    start: int

    @property
    def place(self) -> slice:
        """Weights and bias."""
        return slice(self.start, self.start + self.layer.size)

    @property
    def weight(self) -> slice:
        """The weights alone."""
        return slice(self.start, self.start + self.layer.inputs * self.layer.units)

    @property
    def bias(self) -> slice:
        """The bias alone; empty where there is none."""
        return slice(self.weight.stop, self.place.stop)


@dataclass(frozen=True)
class Bucket:
    """Consecutive arrays of a model that share a buffer; those of its factored layers lie at the buffer's end."""

    members: Mapping[str, Weights]
    layers: Sequence[DenseLayer] = ()
    """Its factored layers, in forward order."""

    @property
    def name(self) -> str:
        """All members' names."""
        return "+".join(self.members)

    @property
    def shape(self) -> tuple[int, ...]:
        """The buffer's: flat, or the only member's."""
        shapes = [value.shape for value in self.members.values()]
        return shapes[0] if self.alone else (sum(map(math.prod, shapes)),)

    @property
    def first_values(self) -> Weights:
        """A copy of the buffer's first values: flat, or in the only member's shape.

        Returns:
            (size,) float32, no unit, or as `Architecture.shapes` gives, float32, no unit.
        """
        return np.concatenate([value.ravel() for value in self.members.values()]).reshape(self.shape)

    @property
    def alone(self) -> bool:
        """Whether its one array keeps its shape."""
        return len(self.members) == 1 and not self.layers

    @property
    def factored(self) -> tuple[Factored, ...]:
        """Its factored layers with their places."""
        starts = {name: place.start for name, place, _ in self.places()}
        return tuple(Factored(layer, starts[layer.arrays[0]]) for layer in self.layers)

    def places(self) -> Iterator[tuple[str, slice, tuple[int, ...]]]:
        """Every member's name, place in the flat buffer, and shape."""
        start = 0
        for name, value in self.members.items():
            yield name, slice(start, start + value.size), value.shape
            start += value.size


@dataclass(frozen=True)
class Layout:
    """A model to be built: what of, for which images, and how its arrays lie in memory."""

    architecture: Architecture
    dataset: Dataset
    buckets: Sequence[Bucket]
    """The trained arrays, in forward order. An array alone in its bucket keeps its shape."""
    statistics: Mapping[str, Weights]
    by_parts: bool = False
    """Whether each bucket's layers are to be a part of their own in `Model.train`, where the engine can."""
    accumulate: int = 1
    """In how many equal pieces a batch is computed, one after the other, the gradients added up."""
    plan: Plan | None = None
    """The parts of `Model.train`, where workers compute some for each other; buckets that are summed come first, then one for
    each slice."""
    gather: Gather | None = None
    """What the workers' normalisations ask, where all of them normalise by all their images."""


def laid_out(
    architecture: Architecture,
    dataset: Dataset,
    arrays: Mapping[str, Weights],
    counts: Sequence[int],
    *,
    by_parts: bool = False,
    factored: Sequence[DenseLayer] = (),
    accumulate: int = 1,
) -> Layout:
    """The layout of a model.

    Args:
        architecture: what of.
        dataset: for which images.
        arrays: trained values and statistics by name: as `Architecture.shapes` gives, float32, no unit.
        counts: how many trained arrays are in each bucket.
        by_parts: see `Layout`.
        factored: dense layers whose gradients are wanted as their factors; none where batches are cut into pieces.
        accumulate: see `Layout`.
    """
    names = iter(architecture.shapes())
    buckets = [_bucket({name: arrays[name] for name in islice(names, count)}, factored) for count in counts]
    statistics = {array.name: arrays[array.name] for array in architecture.statistics}
    return Layout(architecture, dataset, buckets, statistics, by_parts, accumulate)


def laid_out_for(
    store: KVStore,
    architecture: Architecture,
    dataset: Dataset,
    arrays: Mapping[str, Weights],
    accumulate: int,
    shares: Shares,
) -> Layout:
    """The layout that a store asks for; all workers ask theirs at the same time.

    Args:
        store: asked for its plan, or else for its buckets.
        architecture: what of.
        dataset: for which images.
        arrays: trained values and statistics by name: as `Architecture.shapes` gives, float32, no unit.
        accumulate: see `Layout`.
        shares: how the workers share every batch.
    """
    if plan := store.planned(architecture, arrays, shares):
        return _in_parts(architecture, dataset, arrays, plan)
    buckets = store.buckets(architecture.sizes())
    if store.by_parts:
        buckets = architecture.aligned(buckets)
    factored = store.factored(architecture.dense_layers() if accumulate == 1 else [])
    layout = laid_out(
        architecture, dataset, arrays, buckets, by_parts=store.by_parts, factored=factored, accumulate=accumulate
    )
    return replace(layout, gather=store.gather(shares))


def _in_parts(architecture: Architecture, dataset: Dataset, arrays: Mapping[str, Weights], plan: Plan) -> Layout:
    """With the worker's slices of the arrays."""
    buckets = [Bucket({name: arrays[name] for name in names}) for names in plan.summed]
    buckets += [Bucket(own.of(arrays)) for own in plan.slices.values()]
    statistics = {array.name: arrays[array.name] for array in architecture.statistics}
    return Layout(architecture, dataset, buckets, statistics, by_parts=True, plan=plan)


def _bucket(members: Mapping[str, Weights], factored: Sequence[DenseLayer]) -> Bucket:
    """The arrays with those of factored layers last."""
    own = [layer for layer in factored if layer.arrays[0] in members]
    last = [name for layer in own for name in layer.arrays]
    order = [*(name for name in members if name not in last), *last]
    return Bucket({name: members[name] for name in order}, own)
