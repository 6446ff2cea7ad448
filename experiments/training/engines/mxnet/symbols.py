"""A model's layers as MXNet's symbols; variables are named as the architecture's arrays."""

from __future__ import annotations

import operator
import platform
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from types import MappingProxyType

import mxnet as mx

from ...datasets.dataset import Dataset
from ...models import Architecture, layers
from ...models.architecture import PlacedLayer
from ...models.vectors import computed_channels
from ...models.weights import WEIGHT
from ..base import Array
from ..normalisation import Gather, SharedNormalisation
from .graph import error_of
from .normalisation import shared

# oneDNN falls back to matrix products where channels fill no vector: a step of LeNet-5 takes 5.0 ms of a core, and 4.0 ms with
# 10 filters of zeros beside the first convolution's 6, which change no number. Other processors would only compute more.
VECTOR = 16 if platform.machine() == "x86_64" and mx.runtime.Features().is_enabled("MKLDNN") else 1

_POOLINGS = {"average": "avg", "max": "max"}
_CONVENTIONS = {"down": "valid", "up": "full"}


@dataclass(frozen=True)
class Scores:
    """Symbols of what a batch is judged by."""

    loss: Array
    """Summed over the batch, (1,)."""
    image_losses: Array
    """(batch,)."""
    correct: Array
    """1 where the answer was right, (batch,)."""


def scored(logits: Array, label: Array) -> Scores:
    """Cross entropy and right answers.

    Args:
        logits: symbol, (batch, classes), dtype float32, no unit.
        label: symbol, (batch,), dtype float32, numbers of classes, no unit.
    """
    return Scores(
        mx.sym.softmax_cross_entropy(logits, label),
        -mx.sym.pick(mx.sym.log_softmax(logits), label),
        mx.sym.BlockGrad(mx.sym.argmax(logits, axis=1) == label),
    )


class Translator:
    """Layers to symbols, for the images of one data set.

    What is missing of the architecture's side is zero padding, which a first convolution adds itself: the same numbers as
    padded images, with less to move.
    """

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        factored: Collection[str] = (),
        slices: Mapping[str, int] = MappingProxyType({}),
        gather: Gather | None = None,
    ) -> None:
        """`factored` are names of dense layers whose `inputs` and errors are wanted, `slices` the outputs of those that are
        split, by name: training computes only these. By `gather`, where it is given, it normalises as all workers together."""
        self._factored = factored
        self._slices = slices
        self._gather = gather
        self.begin_part()
        self._first = architecture.placed[0]
        self._margin = (architecture.side - dataset.side) // 2
        self._grey = dataset.train.images.ndim == 3
        self._factor = dataset.factor
        self._scale = 1.0 / dataset.deviation
        self._computed = computed_channels(architecture.placed, VECTOR)

    def begin_part(self) -> None:
        """What follows is a graph of its own."""
        self.inputs: dict[str, Array] = {}
        """Symbols of what comes to factored layers, once `through` has met them in training."""
        self._turn: Array | None = None

    def apart(self, placed_layers: Sequence[PlacedLayer]) -> Translator:
        """The same for these layers by themselves: what comes to them, and what they make, has no channels but the model's."""
        found = copy(self)
        found._computed = computed_channels(placed_layers, VECTOR)
        return found

    def beginning_with(self, first: PlacedLayer) -> Translator:
        """The same where a part of the model's first layer is computed instead of all of it."""
        found = copy(self)
        found._first = first
        return found

    def through(self, placed_layers: Sequence[PlacedLayer], symbol: Array, *, training: bool) -> Array:
        """What layers make of a symbol.

        Args:
            placed_layers: consecutive ones.
            symbol: (batch, side, side) uint8 in units of the data set's pixels for the first layer of
                all; else what comes to the layers, dtype float32.
            training: else normalisations use their statistics, and nothing is dropped.

        Returns:
            symbol, (batch, channels, side, side) or (batch, units), dtype float32, no unit.
        """
        for placed in placed_layers:
            if placed is self._first:
                symbol = self._pixels(symbol)
            symbol = self._apply(placed, symbol, training=training)
        return symbol

    def _apply(self, placed: PlacedLayer, symbol: Array, *, training: bool) -> Array:
        match placed.layer:
            case layers.Convolution() as layer:
                return self._convolution(layer, placed, symbol)
            case layers.Pooling() as layer:
                return self._pooling(layer, symbol)
            case layers.Dense(units, bias):
                computed = self._slices.get(placed.name, units) if training else units
                score = mx.sym.FullyConnected(symbol, name=placed.name, num_hidden=computed, no_bias=not bias)
                return self._with_factors(placed.name, symbol, score) if training else score
            case layers.Activation(kind):
                return mx.sym.clip(symbol, 0, 6) if kind == layers.RELU6 else mx.sym.Activation(symbol, act_type=kind)
            case layers.Flatten():
                return mx.sym.Flatten(symbol)
            case layers.Normalisation() as layer:
                return self._normalisation(layer, placed, symbol, training=training)
            case layers.Dropout(rate):
                return mx.sym.Dropout(symbol, p=rate) if training and rate else symbol
            case _:
                return self._joined(placed, symbol, training=training)

    def _joined(self, placed: PlacedLayer, symbol: Array, *, training: bool) -> Array:
        """Layers that put something beside or onto something."""
        if isinstance(placed.layer, layers.Widening):
            return _with_zero_channels(symbol, placed.layer.channels - placed.before[0])
        made = [self.through(path, symbol, training=training) for path in placed.paths]
        match placed.layer:
            case layers.Residual():
                return operator.add(*made)
            case layers.Concatenation():
                return mx.sym.concat(*made, dim=1) if len(made) > 1 else made[0]
        raise NotImplementedError(f"MXNet's engine has no {type(placed.layer).__name__}")

    def _pixels(self, symbol: Array) -> Array:
        symbol = mx.sym.cast(symbol, dtype="float32") * self._scale
        if self._grey:
            symbol = mx.sym.expand_dims(symbol, axis=1)
        if self._factor > 1:
            for axis in (2, 3):
                symbol = mx.sym.repeat(symbol, repeats=self._factor, axis=axis)
        if self._margin and not isinstance(self._first.layer, layers.Convolution):
            edges = (0, 0, 0, 0, *(self._margin,) * 4)
            symbol = mx.sym.Pad(symbol, mode="constant", constant_value=0, pad_width=edges)
        return symbol

    def _with_factors(self, name: str, symbol: Array, score: Array) -> Array:
        """Where the layer is factored, note its input, and let its output's error be the gradient of a variable."""
        if name not in self._factored:
            return score
        self.inputs[name] = mx.sym.BlockGrad(symbol)
        return score + mx.sym.var(error_of(name))

    def _convolution(self, layer: layers.Convolution, placed: PlacedLayer, symbol: Array) -> Array:
        arrays = {array.kind: array for array in placed.arrays()}
        filters, inputs = arrays[WEIGHT].shape[:2]
        inputs, filters = self._computed.get(placed.name, (inputs, filters))
        wanted = {"weight": (filters, inputs), "bias": (filters,)}
        padding = layer.padding + (self._margin if placed is self._first else 0)
        return mx.sym.Convolution(
            symbol,
            **{kind: _with_zeros(mx.sym.var(array.name), array.shape, wanted[kind]) for kind, array in arrays.items()},
            name=placed.name,
            num_filter=filters,
            kernel=(layer.kernel, layer.kernel),
            stride=(layer.stride, layer.stride),
            pad=(padding, padding),
            no_bias=not layer.bias,
            num_group=layer.groups,
        )

    def _pooling(self, layer: layers.Pooling, symbol: Array) -> Array:
        kind = _POOLINGS[layer.kind]
        if layer.size == layers.ALL:
            return mx.sym.Pooling(symbol, pool_type=kind, global_pool=True, kernel=(1, 1))
        stride = layer.stride or layer.size
        return mx.sym.Pooling(
            symbol,
            pool_type=kind,
            kernel=(layer.size, layer.size),
            stride=(stride, stride),
            pad=(layer.padding, layer.padding),
            pooling_convention=_CONVENTIONS[layer.rounding],
        )

    def _normalisation(
        self, layer: layers.Normalisation, placed: PlacedLayer, symbol: Array, *, training: bool
    ) -> Array:
        mean, variance = (mx.sym.var(array.name) for array in placed.statistics())
        scale, shift = [mx.sym.var(array.name) for array in placed.arrays()] or [
            mx.sym.ones(placed.before[:1]),
            # MXNet counts what came in backward, which it leaves out where nothing asks for a gradient.
            mx.sym.var(f"{placed.name}_shift", shape=placed.before[:1])
            if training and not self._gather
            else mx.sym.zeros(placed.before[:1]),
        ]
        if self._gather and training:
            arrays = {"data": symbol, "scale": scale, "shift": shift, "mean": mean, "variance": variance}
            layer_of_all = SharedNormalisation(layer, placed.before, self._gather, unbiased=False)
            made, self._turn = shared(layer_of_all, arrays, self._turn, placed.name)
            return made
        return mx.sym.BatchNorm(
            symbol,
            gamma=scale,
            beta=shift,
            moving_mean=mean,
            moving_var=variance,
            name=placed.name,
            eps=layer.epsilon,
            momentum=layer.momentum,
            fix_gamma=False,
            use_global_stats=not training,
        )


def _with_zero_channels(symbol: Array, count: int) -> Array:
    """The symbol with so many channels of zeros behind its own."""
    if not count:
        return symbol
    zeros = mx.sym.zeros_like(mx.sym.slice_axis(symbol, axis=1, begin=0, end=1))
    return mx.sym.concat(symbol, mx.sym.broadcast_axis(zeros, axis=1, size=count), dim=1)


def _with_zeros(symbol: Array, shape: tuple[int, ...], wanted: tuple[int, ...]) -> Array:
    """The symbol, of this shape, with zeros behind what it has in its first dimensions, up to the wanted sizes."""
    for axis, size in enumerate(wanted):
        if size > shape[axis]:
            zeros = mx.sym.zeros((*shape[:axis], size - shape[axis], *shape[axis + 1 :]))
            symbol = mx.sym.concat(symbol, zeros, dim=axis)
            shape = (*shape[:axis], size, *shape[axis + 1 :])
    return symbol
