"""A model's layers at their places: names, shapes and sizes of everything, and the first weights. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, pairwise

from .layers import RELU6, Activation, Convolution, Dense, Layer, LayerError, Shape
from .weights import GLOROT, WEIGHT, ArraySpec, Weights, first_values


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer by its numbers. The sum over a batch of its weights' gradients is errors^T inputs, its bias's sum(errors):
    inputs (batch, inputs) and errors of its output (batch, units) are the gradient's factors.
    """

    name: str
    inputs: int
    units: int
    arrays: tuple[str, ...]
    """Names of its weights and, where it has one, its bias."""

    @property
    def size(self) -> int:
        """Trained values."""
        return self.inputs * self.units + self.units * (len(self.arrays) - 1)

    @property
    def forms(self) -> dict[str, Shape]:
        """Its arrays' shapes by name."""
        return dict(zip(self.arrays, ((self.units, self.inputs), (self.units,)), strict=False))


@dataclass(frozen=True)
class PlacedLayer:
    """A layer with what comes to it and what it makes of that; shapes without the batch."""

    layer: Layer
    name: str
    """Its arrays' names begin with this: `conv1`, `dense2`; the kind's prefix and a number."""
    before: Shape
    after: Shape
    paths: tuple[tuple[PlacedLayer, ...], ...] = ()
    """The lists of layers within it, as `Layer.paths` has them."""

    def arrays(self) -> Iterator[ArraySpec]:
        """Its trained arrays and those of the layers within it, in forward order."""
        yield from self.layer.arrays(self.name, self.before)
        for inner in chain(*self.paths):
            yield from inner.arrays()

    def statistics(self) -> Iterator[ArraySpec]:
        """Its statistics and those of the layers within it."""
        yield from self.layer.statistics(self.name, self.before)
        for inner in chain(*self.paths):
            yield from inner.statistics()

    def every(self) -> Iterator[PlacedLayer]:
        """It, and those within it."""
        yield self
        for inner in chain(*self.paths):
            yield from inner.every()


@dataclass(frozen=True)
class Architecture:
    """A model for images of `channels` x `side` x `side` and so many `classes`."""

    name: str
    side: int
    """Height and width of the images it sees, padding included, in pixels."""
    channels: int
    classes: int
    layers: tuple[Layer, ...]
    drawn: str = GLOROT
    """How the first weights are drawn."""

    def __post_init__(self) -> None:
        """Raises LayerError, where a layer cannot stand where it stands, or where the last gives no scores."""
        if not self.arrays:
            raise LayerError("it has nothing to train")
        if self.placed[-1].after != (self.classes,):
            raise LayerError(f"its last layer must give {self.classes} scores, one a class: dense: {{units: classes}}")

    @cached_property
    def placed(self) -> tuple[PlacedLayer, ...]:
        """The layers in forward order."""
        return _placed(self.layers, (self.channels, self.side, self.side), Counter())

    @cached_property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """Every trained array, in forward order."""
        return tuple(array for layer in self.placed for array in layer.arrays())

    @cached_property
    def statistics(self) -> tuple[ArraySpec, ...]:
        """Every array that is kept, but not trained: the normalisations' means and variances."""
        return tuple(array for layer in self.placed for array in layer.statistics())

    def every(self) -> Iterator[PlacedLayer]:
        """All layers at their places, those within residuals too."""
        for placed in self.placed:
            yield from placed.every()

    def every_layer(self) -> Iterator[Layer]:
        """All layers, those within residuals too."""
        return (placed.layer for placed in self.every())

    def dense_layers(self) -> list[DenseLayer]:
        """All dense layers, in forward order."""
        return [
            DenseLayer(
                placed.name, math.prod(placed.before), placed.after[0], tuple(each.name for each in placed.arrays())
            )
            for placed in self.every()
            if isinstance(placed.layer, Dense)
        ]

    def shapes(self) -> dict[str, Shape]:
        """Name and shape of every trained array, in forward order."""
        return {array.name: array.shape for array in self.arrays}

    def sizes(self) -> list[int]:
        """Elements of every trained array, in forward order."""
        return [array.size for array in self.arrays]

    def parameters(self) -> int:
        """Number of trained values."""
        return sum(self.sizes())

    def outputs(self) -> list[int]:
        """How many values each layer makes of one image, in forward order; without those that change values in place."""
        return outputs_of(self.placed)

    def operations(self) -> int:
        """Multiply-adds of one image's forward pass, of convolutions and dense layers: all else is little beside them."""
        return sum(
            array.size * math.prod(placed.after[1:])
            for placed in self.every()
            for array in placed.layer.arrays(placed.name, placed.before)
            if array.kind == WEIGHT
        )

    def first_weights(self, seed: int) -> dict[str, Weights]:
        """First values of every trained array by name, in forward order; biases are zero.

        Args:
            seed: of NumPy's frozen stream.

        Returns:
            as `Architecture.shapes` gives, float32, no unit.
        """
        return first_values(self.arrays, seed, self.drawn)

    def first_statistics(self) -> dict[str, Weights]:
        """First values of the statistics by name: means 0, variances 1.

        Returns:
            (channels,) float32, in units of what is normalised.
        """
        return first_values(self.statistics, 0)

    def parts(self, counts: Sequence[int]) -> list[tuple[PlacedLayer, ...]]:
        """The layers cut so that each part has so many arrays; see `aligned`. What has no arrays goes with what precedes it."""
        limits = [0, *accumulate(counts)]
        parts: list[list[PlacedLayer]] = [[] for _ in counts]
        seen = number = 0
        for layer in self.placed:
            own = len(list(layer.arrays()))
            while own and seen >= limits[number + 1]:
                number += 1
            seen += own
            if seen > limits[number + 1]:
                raise ValueError(f"{counts} cut through a layer of {self.name}")
            parts[number].append(layer)
        return [tuple(part) for part in parts]

    def aligned(self, counts: Sequence[int]) -> list[int]:
        """`counts` of consecutive arrays, with every limit moved forwards to the beginning of a layer; empty ones left out."""
        starts = [0, *accumulate(len(list(layer.arrays())) for layer in self.placed)]
        limits = {max(start for start in starts if start <= limit) for limit in (0, *accumulate(counts))}
        return [end - start for start, end in pairwise(sorted(limits))]


def outputs_of(placed: Sequence[PlacedLayer]) -> list[int]:
    """How many values each of some layers makes of one image; without those that change values in place."""
    return [math.prod(each.after) for layer in placed for each in layer.every() if not each.layer.in_place]


def clipped_of(placed: Sequence[PlacedLayer]) -> int:
    """How many values of an image some layers cut off above, as relu6 does."""
    return sum(
        math.prod(each.after)
        for layer in placed
        for each in layer.every()
        if isinstance(each.layer, Activation) and each.layer.kind == RELU6
    )


def _placed(layers: Sequence[Layer], shape: Shape, used: Counter[str]) -> tuple[PlacedLayer, ...]:
    found = []
    for number, layer in enumerate(layers, 1):
        try:
            one = _place(layer, shape, used)
        except LayerError as error:
            raise LayerError(f"layer {number}, {type(layer).__name__.lower()}: {error}") from None
        found.append(one)
        shape = one.after
    return tuple(found)


def _place(layer: Layer, before: Shape, used: Counter[str]) -> PlacedLayer:
    after = layer.output(before)
    if isinstance(layer, Convolution) and layer.computed_as == "dense":
        return _place(Dense(int(layer.filters), layer.bias), before, used)
    used[layer.prefix] += 1
    name = f"{layer.prefix}{used[layer.prefix]}" if layer.prefix else ""
    return PlacedLayer(layer, name, before, after, tuple(_placed(layers, before, used) for layers in layer.paths))
