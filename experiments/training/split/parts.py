"""A model cut into parts; each is computed for a worker's own images, or a slice of it for all workers'. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest

from ..models import Architecture, DenseLayer, Weights
from ..models.architecture import PlacedLayer
from ..models.layers import Activation, Dropout, Flatten

ELEMENTWISE = (Activation, Dropout, Flatten)
"""Layers that treat every output by itself: they can follow a slice of a dense layer's."""


@dataclass(frozen=True)
class Slice:
    """A worker's outputs of a dense layer, from `first` to before `end`, for so many images: those of all workers."""

    layer: DenseLayer
    first: int
    end: int
    images: int

    @property
    def units(self) -> int:
        """How many outputs."""
        return self.end - self.first

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
    """Consecutive layers. With a `slice` the first is a dense one, of which only these outputs are computed."""

    layers: tuple[PlacedLayer, ...]
    slice: Slice | None = None

    def names(self) -> Iterator[str]:
        """The names of its arrays, in forward order."""
        return (array.name for layer in self.layers for array in layer.arrays())


@dataclass(frozen=True)
class Plan:
    """A model's parts, in forward order; the first and the last have no slice."""

    parts: tuple[SplitPart, ...]
    summed: tuple[tuple[str, ...], ...]
    """The arrays whose gradients are added up, by the buffer that they share, in forward order."""

    @property
    def slices(self) -> dict[int, Slice]:
        """The slices, by the number of their part."""
        return {number: part.slice for number, part in enumerate(self.parts) if part.slice}

    @property
    def crossings(self) -> list[int]:
        """The parts before which the workers exchange what the part before made."""
        slices = self.slices
        return [number for number in range(1, len(self.parts)) if number in slices or number - 1 in slices]

    def beginning(self, part: int) -> list[int]:
        """The buffers of `summed` whose first arrays are the part's: none of their gradients is left once it is done."""
        own = set(self.parts[part].names())
        return [number for number, names in enumerate(self.summed) if names[0] in own]

    def forms(self, crossing: int, own: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns of what the part before a crossing makes, and of what the one behind it takes, where a worker has
        `own` images."""
        before, after = self.parts[crossing - 1].slice, self.parts[crossing].slice
        if before and after:
            return (before.images, before.units), (after.images, after.layer.inputs)
        if after:
            return (own, after.layer.inputs), (after.images, after.layer.inputs)
        if before:
            return (before.images, before.units), (own, before.layer.units)
        raise ValueError(f"nothing is exchanged before part {crossing}")


def planned(architecture: Architecture, slices: Sequence[Slice], divide: Callable[[Sequence[int]], list[int]]) -> Plan:
    """The parts of a model with these slices.

    Args:
        architecture: the model.
        slices: a worker's, of layers that `sliceable` gives, in forward order.
        divide: says of the sizes of the other arrays how many consecutive ones share each buffer.
    """
    sliced = {each.layer.name: each for each in slices}
    others = [layer for layer in architecture.placed if layer.name not in sliced and any(layer.arrays())]
    summed = _buffers(others, divide)
    begins = [names[0] for names in summed[1:]]
    parts: list[SplitPart] = []
    for layer in architecture.placed:
        last = parts[-1] if parts else None
        if layer.name in sliced:
            parts.append(SplitPart((layer,), sliced[layer.name]))
        elif last is None or _begins(layer, last, begins):
            parts.append(SplitPart((layer,)))
        else:
            parts[-1] = SplitPart((*last.layers, layer), last.slice)
    if parts[-1].slice:
        parts.append(SplitPart(()))  # the loss, of the own images
    return Plan(tuple(parts), tuple(summed))


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
        return not isinstance(layer.layer, ELEMENTWISE)
    return next((array.name for array in layer.arrays()), None) in begins


def _buffers(layers: Sequence[PlacedLayer], divide: Callable[[Sequence[int]], list[int]]) -> list[tuple[str, ...]]:
    """Names of whole layers' arrays by buffer: limits within a layer are moved to before it."""
    arrays = [list(layer.arrays()) for layer in layers]
    if not arrays:
        return []
    limits = list(accumulate(divide([array.size for own in arrays for array in own])))[:-1]
    buffers: list[list[str]] = [[]]
    seen = 0
    for own in arrays:
        if buffers[-1] and any(seen <= limit < seen + len(own) for limit in limits):
            buffers.append([])
        buffers[-1] += [array.name for array in own]
        seen += len(own)
    return [tuple(names) for names in buffers]
