"""What a kind of layer is, and what kinds share: options, shapes, arrays. Pure.

A shape is (channels, side, side) of images or (units,) of vectors, without the batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .weights import BIAS, WEIGHT, ArraySpec

Shape = tuple[int, ...]

CLASSES = "classes"
"""Units of a dense layer, or filters of a convolution: as many as the data set has classes."""

ALL = "all"
"""Size of a pooling: the whole image."""


class LayerError(ValueError):
    """A layer cannot stand where it stands; the message says why."""


def number(minimum: int, default: Any = ..., word: str | None = None) -> Any:
    """A whole number of at least `minimum`, or `word`."""
    return option({"type": int, "minimum": minimum, "word": word}, default)


def fraction(default: Any = ...) -> Any:
    """A number from 0, below 1."""
    return option({"type": float, "minimum": 0.0, "below": 1.0}, default)


def choice(*choices: object, default: Any = ...) -> Any:
    """One of these."""
    return option({"choices": choices}, default)


def option(metadata: dict[str, Any], default: Any) -> Any:
    """A field with what is allowed in it; required where `default` is `...`."""
    return field(metadata=metadata) if default is ... else field(metadata=metadata, default=default)


@dataclass(frozen=True)
class Layer(ABC):
    """One layer; its fields are the options of its entry, each with what is allowed."""

    prefix: ClassVar[str] = ""
    """Its arrays' names begin with this and a number."""

    in_place: ClassVar[bool] = False
    """Whether what it makes may lie where its input lay."""

    @property
    def paths(self) -> tuple[tuple[Layer, ...], ...]:
        """The lists of layers within it; empty where it is a layer by itself."""
        return ()

    @abstractmethod
    def output(self, before: Shape) -> Shape:
        """The shape that it makes of `before`. Raises LayerError."""

    def arrays(self, name: str, before: Shape) -> list[ArraySpec]:
        """Its trained arrays, in the order in which they lie in a model."""
        return []

    def statistics(self, name: str, before: Shape) -> list[ArraySpec]:
        """Its arrays that are not trained by gradients: what it has seen of the data."""
        return []


def affine(name: str, shape: Shape, bias: bool) -> list[ArraySpec]:
    """Weights of a shape and, where there is one, a bias for each of its first dimension."""
    arrays = [ArraySpec(f"{name}_weight", shape, WEIGHT)]
    return [*arrays, ArraySpec(f"{name}_bias", shape[:1], BIAS)] if bias else arrays


def strided(before: Shape, size: int, stride: int, padding: int, *, up: bool = False) -> int:
    """The side of what a square that walks over images makes of them; with `up` it also stands where it meets their edge."""
    images(before)
    room = before[1] + 2 * padding - size
    if room < 0:
        raise LayerError(f"its {size}x{size} do not fit into {text(before)}")
    return (-(-room // stride) if up else room // stride) + 1


def after(layers: Sequence[Layer], before: Shape) -> Shape:
    """The shape that a list of layers makes of another."""
    for layer in layers:
        before = layer.output(before)
    return before


def images(before: Shape) -> None:
    """Raise LayerError where a shape is not that of images."""
    if len(before) != 3:
        raise LayerError(f"it takes images, and finds {text(before)}")


def text(shape: Shape) -> str:
    """A shape in words: `3x32x32`."""
    return "x".join(map(str, shape))
