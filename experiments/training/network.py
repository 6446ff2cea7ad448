"""A model on MXNet: one cached graph for a training step, one for validation, no per-parameter Python in either."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import mxnet as mx
import numpy as np
from mxnet import autograd

from .models import CLASSES, KERNEL, Architecture, Weights
from .stores.base import Array, Parameter

_DATA = ("images", "label")


class Network:
    """Forward and backward of one architecture; images are uint8 (batch, side, side), labels float32 (batch,).

    `image_side` is the images' own; the rest of the architecture's side is zero padding, which the first convolution
    adds itself: the same numbers as padded images, with less to move. Pixels are divided by `deviation`.
    """

    def __init__(self, architecture: Architecture, image_side: int, deviation: float) -> None:
        padding = (architecture.side - image_side) // 2
        logits, label = _logits(architecture, padding, deviation), mx.sym.var("label")
        correct = mx.sym.BlockGrad(mx.sym.argmax(logits, axis=1) == label)
        loss = mx.sym.softmax_cross_entropy(logits, label)
        self._train = _Graph(mx.sym.concat(loss, mx.sym.sum(correct, keepdims=True), dim=0))
        self._validate = _Graph(mx.sym.stack(-mx.sym.pick(mx.sym.log_softmax(logits), label), correct))
        self._head = mx.nd.ones((2,))
        self._values: dict[str, Array] = {}

    def lay_out(self, weights: dict[str, Weights], buckets: Sequence[int]) -> list[Parameter]:
        """Allocate values and gradients as a store wants them (see `Store.buckets`), filled with `weights`."""
        names = iter(weights)
        parameters: list[Parameter] = []
        gradients: list[Array] = []
        for count in buckets:
            members = {name: weights[name] for name in islice(names, count)}
            parameter, values, grads = _bucket(members)
            parameters.append(parameter)
            self._values |= values
            gradients += grads
        autograd.mark_variables(list(self._values.values()), gradients)
        self._train.bind(self._values)
        self._validate.bind(self._values)
        return parameters

    def train(self, images: Array, labels: Array) -> Array:
        """Enqueue forward and backward; the answer (2,) will hold the batch's summed loss and its correct answers."""
        with autograd.record():
            outcome = self._train(images, labels)
        autograd.backward([outcome], [self._head])
        return outcome

    def validate(self, images: Array, labels: Array) -> Array:
        """Enqueue forward; the answer (2, batch) will hold every image's loss, and 1 where it was right."""
        return self._validate(images, labels)

    def weights(self) -> dict[str, Weights]:
        """The values as they are now, by name, in forward order."""
        return {name: value.asnumpy() for name, value in self._values.items()}


class _Graph:
    """A symbol as one call: arguments in the symbol's own order, the model's arrays bound once."""

    def __init__(self, symbol: Array) -> None:
        self._inputs: list[str] = symbol.list_inputs()
        data = [position for position, name in enumerate(self._inputs) if name in _DATA]
        rest = [position for position, name in enumerate(self._inputs) if name not in _DATA]
        flags = [("data_indices", data), ("param_indices", rest), ("static_alloc", True), ("static_shape", True)]
        self._operator = mx.nd.CachedOp(symbol, flags)
        self._arguments: list[Array] = []

    def bind(self, values: dict[str, Array]) -> None:
        self._arguments = [values.get(name) for name in self._inputs]
        self._images, self._label = (self._inputs.index(name) for name in _DATA)

    def __call__(self, images: Array, labels: Array) -> Array:
        self._arguments[self._images] = images
        self._arguments[self._label] = labels
        return self._operator(*self._arguments)


def _logits(architecture: Architecture, padding: int, deviation: float) -> Array:
    """The symbol from `images` to ten scores; its variables are named as in `Architecture.shapes`."""
    pixels = mx.sym.cast(mx.sym.var("images"), dtype="float32") * (1.0 / deviation)
    layer = mx.sym.expand_dims(pixels, axis=1)
    for number, filters in enumerate(architecture.convolutions, 1):
        layer = mx.sym.Convolution(
            layer,
            name=f"conv{number}",
            num_filter=filters,
            kernel=(KERNEL, KERNEL),
            pad=(padding, padding) if number == 1 else (0, 0),
        )
        layer = mx.sym.Activation(layer, act_type="tanh")
        layer = mx.sym.Pooling(layer, pool_type=architecture.pooling, kernel=(2, 2), stride=(2, 2))
    for number, units in enumerate(architecture.hidden, 1):
        layer = mx.sym.FullyConnected(layer, name=f"dense{number}", num_hidden=units)
        layer = mx.sym.Activation(layer, act_type="tanh")
    return mx.sym.FullyConnected(layer, name=f"dense{len(architecture.hidden) + 1}", num_hidden=CLASSES)


def _bucket(members: dict[str, Weights]) -> tuple[Parameter, dict[str, Array], list[Array]]:
    """One buffer for `members`, and each member's own view of its values and gradients."""
    if len(members) == 1:
        (name, weights), *_ = members.items()
        parameter = Parameter(name, mx.nd.array(weights), mx.nd.zeros(weights.shape))
        return parameter, {name: parameter.value}, [parameter.gradient]
    flat = np.concatenate([weights.ravel() for weights in members.values()])
    parameter = Parameter("+".join(members), mx.nd.array(flat), mx.nd.zeros(flat.shape))
    values: dict[str, Array] = {}
    gradients: list[Array] = []
    start = 0
    for name, weights in members.items():
        part = slice(start, start + weights.size)
        values[name] = parameter.value[part].reshape(weights.shape)
        gradients.append(parameter.gradient[part].reshape(weights.shape))
        start += weights.size
    return parameter, values, gradients
