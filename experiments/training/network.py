"""A model on MXNet: cached graphs for a training step and for validation, no per-parameter Python in either."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import mxnet as mx
import numpy as np
from mxnet import autograd

from .models import CLASSES, KERNEL, Architecture, Weights, filled_up
from .phases import BACKWARD, DATA, FORWARD
from .stores.base import Array, Parameter, Store

_DATA = ("images", "label")
# oneDNN falls back to matrix products where channels fill no vector: a step of LeNet-5 takes 5.0 ms of a core, and 4.0 ms with
# 10 filters of zeros beside the first convolution's 6, which change no number. Other processors would only compute more.
_VECTOR = 16 if platform.machine() == "x86_64" and mx.runtime.Features().is_enabled("MKLDNN") else 1

_Layer = Callable[[Array], Array]  # of symbols


class Network:
    """Forward and backward of one architecture; images are uint8 (batch, side, side), labels float32 (batch,).

    `image_side` is the images' own; the rest of the architecture's side is zero padding, which the first convolution
    adds itself: the same numbers as padded images, with less to move. Pixels are divided by `deviation`.
    """

    def __init__(self, architecture: Architecture, image_side: int, deviation: float) -> None:
        padding = (architecture.side - image_side) // 2
        self._layers = _layers(architecture, padding, deviation)
        scores = _score(_through(self._layers, mx.sym.var("images")), mx.sym.var("label"))
        self._validate = _Graph(mx.sym.stack(scores.image_losses, scores.correct))
        self._parts: list[_Part] = []
        self._head = mx.nd.ones((2,))
        self._values: dict[str, Array] = {}

    def lay_out(
        self, weights: dict[str, Weights], buckets: Sequence[int], *, by_parts: bool = False
    ) -> list[Parameter]:
        """Allocate values and gradients as a store wants them (see `Store.buckets`), filled with `weights`.

        `by_parts` makes each buffer's layers a part of their own in `train`.
        """
        names = iter(weights)
        parameters: list[Parameter] = []
        gradients: dict[str, Array] = {}
        for count in buckets:
            members = {name: weights[name] for name in islice(names, count)}
            parameter, values, grads = _bucket(members)
            parameters.append(parameter)
            self._values |= values
            gradients |= dict(zip(values, grads, strict=True))
        counts = [count // 2 for count in buckets] if by_parts else [len(self._layers)]
        self._parts = _parts(self._layers, counts, self._values, gradients)
        self._validate.bind(self._values)
        return parameters

    def train(self, images: Array, labels: Array, store: Store) -> Array:
        """Enqueue forward and backward; the answer (2,) will hold the batch's summed loss and its correct answers.

        `store` is told of every part before its forward and after its backward.
        """
        phases = store.phases
        flow = images
        previous: _Part | None = None
        for number, part in enumerate(self._parts):
            store.before_part(number)
            part.take(flow, labels, previous)
            phases.compute(DATA)
            flow = part.forward()
            phases.compute(FORWARD)
            previous = part
        outcome = flow.copy()  # the executor's own is overwritten by the next step
        if phases.sampled:
            outcome.wait_to_read()
        phases.compute(FORWARD)
        head = self._head
        for number in reversed(range(len(self._parts))):
            head = self._parts[number].backward(head)
            phases.compute(BACKWARD)
            store.after_part(number)
        return outcome

    def validate(self, images: Array, labels: Array) -> Array:
        """Enqueue forward; the answer (2, batch) will hold every image's loss, and 1 where it was right."""
        with autograd.train_mode():  # in predict mode oneDNN would reorder the values in place, which views forbid
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
        self._places = [self._inputs.index(name) for name in _DATA if name in self._inputs]

    def __call__(self, *data: Array) -> Array:
        """Run on images and, where the symbol has them, labels."""
        for place, array in zip(self._places, data, strict=False):
            self._arguments[place] = array
        return self._operator(*self._arguments)


class _Part:
    """Consecutive layers whose backward runs apart from the others', so that gradients are ready in between.

    Each is a bound executor: without autograd's records of what came from where, a step costs less Python than with a
    `_Graph` for each part.
    """

    def __init__(self, symbol: Array, values: dict[str, Array], gradients: dict[str, Array]) -> None:
        self._symbol = symbol
        self._values = values
        self._gradients = gradients
        self._executor: Array = None

    def take(self, images: Array, labels: Array, previous: _Part | None) -> None:
        """Enqueue what hands the input over: the output of the `previous` part, where there is one, lies there already."""
        if not self._executor:
            self._bind(images, labels, previous)
        if not previous:
            images.copyto(self._images)
        if self._label is not None:
            labels.copyto(self._label)

    def forward(self) -> Array:
        """Enqueue; the part's output."""
        return self._executor.forward(is_train=True)[0]

    def backward(self, head: Array) -> Array:
        """Enqueue; from the gradient of the part's output to that of its input, None before the first layer."""
        self._executor.backward([head])
        return self._input_gradient

    def _bind(self, images: Array, labels: Array, previous: _Part | None) -> None:
        """Fix every array, now that shapes are known: an executor's output is the same memory in every step."""
        names = self._symbol.list_arguments()
        self._images = images if previous else images.copy()
        self._label = labels.copy() if "label" in names else None
        self._input_gradient = mx.nd.zeros(images.shape) if previous else None
        arrays = {**self._values, "images": self._images, "label": self._label}
        gradients = {**self._gradients, "images": self._input_gradient}
        self._executor = self._symbol.bind(
            mx.cpu(),
            {name: arrays[name] for name in names},
            {name: gradients[name] for name in names if gradients.get(name) is not None},
            {name: "null" if gradients.get(name) is None else "write" for name in names},
        )


def _parts(
    layers: Sequence[_Layer], counts: Sequence[int], values: dict[str, Array], gradients: dict[str, Array]
) -> list[_Part]:
    """So many layers in each part; the last one goes on to the loss."""
    parts: list[_Part] = []
    start = 0
    for count in counts:
        symbol = _through(layers[start : start + count], mx.sym.var("images"))
        start += count
        if start == len(layers):
            scores = _score(symbol, mx.sym.var("label"))
            symbol = mx.sym.concat(scores.loss, mx.sym.sum(scores.correct, keepdims=True), dim=0)
        parts.append(_Part(symbol, values, gradients))
    return parts


@dataclass(frozen=True)
class _Scores:
    """Symbols of what a batch is judged by."""

    loss: Array
    """Summed over the batch, (1,)."""
    image_losses: Array
    """(batch,)."""
    correct: Array
    """1 where the answer was right, (batch,)."""


def _score(logits: Array, label: Array) -> _Scores:
    return _Scores(
        mx.sym.softmax_cross_entropy(logits, label),
        -mx.sym.pick(mx.sym.log_softmax(logits), label),
        mx.sym.BlockGrad(mx.sym.argmax(logits, axis=1) == label),
    )


def _through(layers: Sequence[_Layer], symbol: Array) -> Array:
    for layer in layers:
        symbol = layer(symbol)
    return symbol


def _layers(architecture: Architecture, padding: int, deviation: float) -> list[_Layer]:
    """What each pair of weight and bias does to a symbol; variables are named as in `Architecture.shapes`."""
    shapes = architecture.shapes()
    channels = [1, *filled_up(architecture.convolutions, _VECTOR)]

    def convolution(symbol: Array, number: int) -> Array:
        if number == 1:
            symbol = mx.sym.expand_dims(mx.sym.cast(symbol, dtype="float32") * (1.0 / deviation), axis=1)
        weight, bias = f"conv{number}_weight", f"conv{number}_bias"
        inputs, filters = channels[number - 1 : number + 1]
        symbol = mx.sym.Convolution(
            symbol,
            weight=_with_zeros(mx.sym.var(weight), shapes[weight], (filters, inputs)),
            bias=_with_zeros(mx.sym.var(bias), shapes[bias], (filters,)),
            name=f"conv{number}",
            num_filter=filters,
            kernel=(KERNEL, KERNEL),
            pad=(padding, padding) if number == 1 else (0, 0),
        )
        symbol = mx.sym.Activation(symbol, act_type="tanh")
        return mx.sym.Pooling(symbol, pool_type=architecture.pooling, kernel=(2, 2), stride=(2, 2))

    def dense(symbol: Array, number: int, units: int) -> Array:
        symbol = mx.sym.FullyConnected(symbol, name=f"dense{number}", num_hidden=units)
        return mx.sym.Activation(symbol, act_type="tanh") if number <= len(architecture.hidden) else symbol

    return [
        *(partial(convolution, number=n) for n in range(1, len(architecture.convolutions) + 1)),
        *(partial(dense, number=n, units=units) for n, units in enumerate((*architecture.hidden, CLASSES), 1)),
    ]


def _with_zeros(symbol: Array, shape: tuple[int, ...], wanted: tuple[int, ...]) -> Array:
    """The symbol, of this shape, with zeros behind what it has in its first dimensions, up to the wanted sizes."""
    for axis, size in enumerate(wanted):
        if size > shape[axis]:
            zeros = mx.sym.zeros((*shape[:axis], size - shape[axis], *shape[axis + 1 :]))
            symbol = mx.sym.concat(symbol, zeros, dim=axis)
            shape = (*shape[:axis], size, *shape[axis + 1 :])
    return symbol


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
