"""A model cut into parts; each is computed for a worker's own images, or some outputs of it for several workers'. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, zip_longest
from typing import ClassVar

from ..kvstores.allreduce.shards import bounds
from ..models import Architecture, DenseLayer, Weights
from ..models.architecture import PlacedLayer
from ..models.layers import Activation, Dropout, Flatten, Layer
from ..sharding import Shares

ELEMENTWISE = (Activation, Dropout, Flatten)
"""Layers that treat every output by itself: they can follow a slice of a dense layer's."""

Rows = tuple[str, slice]
"""A part of an array: its name, and from where to where along its first dimension."""


class Columns(ABC):
    """A worker's outputs of a layer that some workers share, for so many `images`: those of all these workers."""

    images: int
    followed_by: ClassVar[tuple[type[Layer], ...]]
    """Layers that can follow some of the outputs as well as all."""

    @property
    @abstractmethod
    def inputs(self) -> int:
        """Values of an image that come to the layer."""

    @property
    @abstractmethod
    def units(self) -> int:
        """The worker's outputs of an image."""

    @property
    @abstractmethod
    def whole(self) -> int:
        """All outputs of an image."""

    @abstractmethod
    def columns(self, workers: int) -> list[slice]:
        """Each worker's outputs, of so many workers."""

    @abstractmethod
    def held(self, workers: int) -> list[list[Rows]]:
        """What each worker has of the layer's arrays."""

    @abstractmethod
    def computed(self, layer: PlacedLayer) -> PlacedLayer:
        """What the worker computes of the layer."""


@dataclass(frozen=True)
class Slice(Columns):
    """A worker's outputs of a dense layer, from `first` to before `end`, for so many images: those of all workers."""

    followed_by = ELEMENTWISE

    layer: DenseLayer
    first: int
    end: int
    images: int

    @property
    def inputs(self) -> int:
        """The layer's."""
        return self.layer.inputs

    @property
    def units(self) -> int:
        """How many outputs."""
        return self.end - self.first

    @property
    def whole(self) -> int:
        """The layer's."""
        return self.layer.units

    def columns(self, workers: int) -> list[slice]:
        """Even ones."""
        return columns_of(self.layer.units, workers)

    def held(self, workers: int) -> list[list[Rows]]:
        """The outputs' weights and biases."""
        return [[(name, columns) for name in self.layer.arrays] for columns in self.columns(workers)]

    def computed(self, layer: PlacedLayer) -> PlacedLayer:
        """The same layer, with fewer outputs."""
        return layer

    def of(self, arrays: Mapping[str, Weights]) -> dict[str, Weights]:
        """The slice's part of the layer's arrays, by name.

        Args:
            arrays: all of a model's, by name: as `Architecture.shapes` gives, float32, no unit.

        Returns:
            views: weights (units, inputs) and, where there is one, bias (units,), float32, no unit.
        """
        return {name: arrays[name][self.first : self.end] for name in self.layer.arrays}


@dataclass(frozen=True)
class SplitPart:
    """Consecutive layers. With a `slice`, only these outputs of the first are computed, and of those that follow it."""

    layers: tuple[PlacedLayer, ...]
    slice: Columns | None = None

    def names(self) -> Iterator[str]:
        """The names of its arrays, in forward order."""
        return (array.name for layer in self.layers for array in layer.arrays())


@dataclass(frozen=True)
class Plan:
    """A model's parts, in forward order; the first and the last have no slice."""

    parts: tuple[SplitPart, ...]
    summed: tuple[tuple[str, ...], ...]
    """The arrays whose gradients are added up, by the buffer that they share, in forward order."""
    common: int
    """So many of `summed`, the first, are added up over all workers; the others over those that have these arrays."""
    walked: slice | None = None
    """Where the worker's own images are in the batches that it walks, where these have all images of its first part."""

    @property
    def owned(self) -> dict[int, Columns]:
        """What this worker computes for others too, by the number of the part."""
        return {number: part.slice for number, part in enumerate(self.parts) if part.slice}

    @property
    def slices(self) -> dict[int, Slice]:
        """The slices of dense layers among them."""
        return {number: own for number, own in self.owned.items() if isinstance(own, Slice)}

    def held(self, workers: int) -> list[list[Rows]]:
        """What each worker has of the arrays that are not all workers'."""
        found = [own.held(workers) for own in self.owned.values()]
        return [[rows for layer in found for rows in layer[rank]] for rank in range(workers)]

    @property
    def crossings(self) -> list[int]:
        """The parts before which the workers exchange what the part before made."""
        owned = self.owned
        return [number for number in range(1, len(self.parts)) if number in owned or number - 1 in owned]

    def beginning(self, part: int) -> list[int]:
        """The buffers of `summed` whose first arrays are the part's: none of their gradients is left once it is done."""
        own = set(self.parts[part].names())
        return [number for number, names in enumerate(self.summed) if names[0] in own]

    def forms(self, crossing: int, own: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns of what the part before a crossing makes, and of what the one behind it takes, where a worker has
        `own` images."""
        before, after = self.parts[crossing - 1].slice, self.parts[crossing].slice
        if before and after:
            return (before.images, before.units), (after.images, after.inputs)
        if after:
            return (own, after.inputs), (after.images, after.inputs)
        if before:
            return (before.images, before.units), (own, before.whole)
        raise ValueError(f"nothing is exchanged before part {crossing}")


def sliced(
    architecture: Architecture,
    layers: Sequence[DenseLayer],
    shares: Shares,
    divide: Callable[[Sequence[int]], list[int]],
) -> Plan:
    """The parts of a model as the worker of these shares computes them, where all workers share these layers; see `planned`."""
    own = [columns_of(layer.units, len(shares.sizes))[shares.place] for layer in layers]
    slices = [Slice(layer, part.start, part.stop, shares.total) for layer, part in zip(layers, own, strict=True)]
    return planned(architecture, slices, divide)


def planned(architecture: Architecture, slices: Sequence[Slice], divide: Callable[[Sequence[int]], list[int]]) -> Plan:
    """The parts of a model with these slices.

    Args:
        architecture: the model.
        slices: a worker's, of layers that `sliceable` gives, in forward order.
        divide: says of the sizes of the other arrays how many consecutive ones share each buffer.
    """
    places = {layer.name: number for number, layer in enumerate(architecture.placed) if layer.name}
    return in_parts(architecture, {places[each.layer.name]: each for each in slices}, divide)


def in_parts(
    architecture: Architecture, owned: Mapping[int, Columns], divide: Callable[[Sequence[int]], list[int]]
) -> Plan:
    """The parts of a model of which a worker has some outputs of these layers, by their numbers; see `planned`."""
    others = [layer for number, layer in enumerate(architecture.placed) if number not in owned]
    summed = buffers(others, divide)
    begins = [names[0] for names in summed[1:]]
    parts: list[SplitPart] = []
    for number, layer in enumerate(architecture.placed):
        last = parts[-1] if parts else None
        if number in owned:
            parts.append(SplitPart((owned[number].computed(layer),), owned[number]))
        elif last is None or _begins(layer, last, begins):
            parts.append(SplitPart((layer,)))
        else:
            parts[-1] = SplitPart((*last.layers, layer), last.slice)
    if parts[-1].slice:
        parts.append(SplitPart(()))  # the loss, of the own images
    return Plan(tuple(parts), summed, len(summed))


def sliceable(architecture: Architecture) -> list[tuple[DenseLayer, bool]]:
    """The dense layers that can be split, in forward order, each with whether slices of its outputs can go to the next such
    one without having been put together for the own images: those that are in no other layer and have arrays before them."""
    dense = {layer.name: layer for layer in architecture.dense_layers()}
    trained = [number for number, layer in enumerate(architecture.placed) if any(layer.arrays())]
    places = [number for number in trained[1:] if architecture.placed[number].name in dense]
    found = []
    for place, following in zip_longest(places, places[1:]):
        between = architecture.placed[place + 1 : following] if following else ()
        direct = following is not None and all(isinstance(each.layer, ELEMENTWISE) for each in between)
        found.append((dense[architecture.placed[place].name], direct))
    return found


def _begins(layer: PlacedLayer, last: SplitPart, begins: Collection[str]) -> bool:
    """Whether a layer that is not split cannot be of the part before it."""
    if last.slice:
        return not isinstance(layer.layer, last.slice.followed_by)
    return next((array.name for array in layer.arrays()), None) in begins


def buffers(layers: Sequence[PlacedLayer], divide: Callable[[Sequence[int]], list[int]]) -> tuple[tuple[str, ...], ...]:
    """Names of whole layers' arrays by buffer: limits within a layer are moved to before it."""
    arrays = [own for own in (list(layer.arrays()) for layer in layers) if own]
    if not arrays:
        return ()
    limits = list(accumulate(divide([array.size for own in arrays for array in own])))[:-1]
    found: list[list[str]] = [[]]
    seen = 0
    for own in arrays:
        if found[-1] and any(seen <= limit < seen + len(own) for limit in limits):
            found.append([])
        found[-1] += [array.name for array in own]
        seen += len(own)
    return tuple(tuple(names) for names in found)


def columns_of(units: int, workers: int) -> list[slice]:
    """Every worker's outputs of a layer with so many, by rank."""
    return [slice(*pair) for pair in pairwise(bounds(units, workers))]
