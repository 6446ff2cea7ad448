"""The kinds of layers: what each is told, the shape it makes of another, and the arrays it has. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from .layer import (
    ALL,
    CLASSES,
    Layer,
    LayerError,
    Shape,
    affine,
    after,
    choice,
    fraction,
    images,
    number,
    strided,
    text,
)
from .weights import MEAN, SCALE, SHIFT, VARIANCE, ArraySpec

RELU6 = "relu6"
"""Kind of an activation: relu, cut off at 6."""

__all__ = ["ALL", "CLASSES", "KINDS", "RELU6", "Layer", "LayerError", "Shape"]


@dataclass(frozen=True)
class Convolution(Layer):
    """Weights (filters, channels / groups, kernel, kernel), bias (filters,).

    Each group sees its own channels only and makes its own filters; with as many groups as channels it is depthwise.
    """

    prefix = "conv"

    filters: int | str = number(1, word=CLASSES)
    kernel: int = number(1)
    stride: int = number(1, 1)
    padding: int = number(0, 0)
    bias: bool = choice(True, False, default=True)
    computed_as: str = choice("convolution", "dense", default="convolution")
    groups: int = number(1, 1)

    def output(self, before: Shape) -> Shape:
        """(filters, side, side)."""
        side = strided(before, self.kernel, self.stride, self.padding)
        if self.computed_as == "dense" and (side != 1 or self.padding):
            raise LayerError(f"it cannot be computed as dense: its kernel does not cover the whole {text(before)}")
        if before[0] % self.groups or int(self.filters) % self.groups:
            raise LayerError(
                f"its {self.groups} groups share neither {before[0]} channels nor {self.filters} filters evenly"
            )
        return (int(self.filters), side, side)

    def arrays(self, name: str, before: Shape) -> list[ArraySpec]:
        """Weights and, where it has one, bias."""
        return affine(name, (int(self.filters), before[0] // self.groups, self.kernel, self.kernel), self.bias)


@dataclass(frozen=True)
class Pooling(Layer):
    """The mean or the largest value of every square; where rounded up, also of what is left at the far edges."""

    kind: str = choice("average", "max")
    size: int | str = number(1, word=ALL)
    stride: int | None = number(1, None)
    padding: int = number(0, 0)
    rounding: str = choice("down", "up", default="down")

    def output(self, before: Shape) -> Shape:
        """(channels, side, side)."""
        if isinstance(self.size, str):
            images(before)
            return (before[0], 1, 1)
        side = strided(before, self.size, self.stride or self.size, self.padding, up=self.rounding == "up")
        return (before[0], side, side)


@dataclass(frozen=True)
class Dense(Layer):
    """Weights (units, inputs), bias (units,)."""

    prefix = "dense"

    units: int | str = number(1, word=CLASSES)
    bias: bool = choice(True, False, default=True)

    def output(self, before: Shape) -> Shape:
        """(units,)."""
        return (int(self.units),)

    def arrays(self, name: str, before: Shape) -> list[ArraySpec]:
        """Weights and, where it has one, bias."""
        inputs = 1
        for size in before:
            inputs *= size
        return affine(name, (int(self.units), inputs), self.bias)


@dataclass(frozen=True)
class Activation(Layer):
    """A function of every value."""

    in_place = True

    kind: str = choice("tanh", "relu", RELU6, "sigmoid")

    def output(self, before: Shape) -> Shape:
        """The same."""
        return before


@dataclass(frozen=True)
class Flatten(Layer):
    """Images to vectors."""

    in_place = True

    def output(self, before: Shape) -> Shape:
        """(values,)."""
        values = 1
        for size in before:
            values *= size
        return (values,)


@dataclass(frozen=True)
class Normalisation(Layer):
    """Batch normalisation by channel (Ioffe and Szegedy, 2015); every worker has statistics of its own."""

    prefix = "norm"

    epsilon: float = fraction(1e-5)
    momentum: float = fraction(0.9)
    affine: bool = choice(True, False, default=True)

    def output(self, before: Shape) -> Shape:
        """The same."""
        return before

    def arrays(self, name: str, before: Shape) -> list[ArraySpec]:
        """Scale and shift (channels,), unless it is not affine."""
        if not self.affine:
            return []
        return [
            ArraySpec(f"{name}_scale", before[:1], SCALE),
            ArraySpec(f"{name}_shift", before[:1], SHIFT),
        ]

    def statistics(self, name: str, before: Shape) -> list[ArraySpec]:
        """Mean and variance (channels,)."""
        return [
            ArraySpec(f"{name}_mean", before[:1], MEAN),
            ArraySpec(f"{name}_variance", before[:1], VARIANCE),
        ]


@dataclass(frozen=True)
class Dropout(Layer):
    """While training, a part of the values is 0 and the others are so much larger."""

    in_place = True

    rate: float = fraction()

    def output(self, before: Shape) -> Shape:
        """The same."""
        return before


@dataclass(frozen=True)
class Residual(Layer):
    """The sum of what two lists of layers make of one input; an empty shortcut passes it on (He and others, 2015)."""

    layers: tuple[Layer, ...] = field(metadata={"layers": True})
    shortcut: tuple[Layer, ...] = field(metadata={"layers": True}, default=())

    def output(self, before: Shape) -> Shape:
        """The same as both lists'."""
        ends = [after(layers, before) for layers in (self.layers, self.shortcut)]
        if ends[0] != ends[1]:
            raise LayerError(f"its layers make {text(ends[0])}, its shortcut {text(ends[1])}")
        return ends[0]

    @property
    def paths(self) -> tuple[tuple[Layer, ...], ...]:
        """Both lists."""
        return (self.layers, self.shortcut)


@dataclass(frozen=True)
class Concatenation(Layer):
    """What several lists of layers, its branches, make of one input, channels behind channels: the first one's come first."""

    branches: tuple[tuple[Layer, ...], ...] = field(metadata={"branches": True})

    def output(self, before: Shape) -> Shape:
        """All branches' channels."""
        ends = [after(branch, before) for branch in self.branches]
        if unlike := [end for end in ends if end[1:] != ends[0][1:]]:
            raise LayerError(f"one branch makes {text(ends[0])}, another {text(unlike[0])}")
        return (sum(end[0] for end in ends), *ends[0][1:])

    @property
    def paths(self) -> tuple[tuple[Layer, ...], ...]:
        """The branches."""
        return self.branches


@dataclass(frozen=True)
class Widening(Layer):
    """Channels of zeros behind those that come, up to so many (the shortcut without weights of He and others, 2015)."""

    channels: int = number(1)

    def output(self, before: Shape) -> Shape:
        """(channels, side, side)."""
        images(before)
        if before[0] > self.channels:
            raise LayerError(f"{before[0]} channels come, more than its {self.channels}")
        return (self.channels, *before[1:])


KINDS: dict[str, type[Layer]] = {
    "convolution": Convolution,
    "pooling": Pooling,
    "dense": Dense,
    "activation": Activation,
    "flatten": Flatten,
    "normalisation": Normalisation,
    "dropout": Dropout,
    "residual": Residual,
    "concatenation": Concatenation,
    "widening": Widening,
}
