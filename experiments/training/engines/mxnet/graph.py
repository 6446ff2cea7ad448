"""Symbols that can be called: a cached graph for forward alone, bound executors for training."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Mapping

import mxnet as mx

from ..base import Array

IMAGES, LABEL = DATA = ("images", "label")
"""Names of the variables that are fed."""


_FORM = "__shape__"
"""MXNet's name for the attribute."""


def error_of(layer: str) -> str:
    """Name of the variable of zeros that is added to a factored layer's output: its gradient is the output's error."""
    return f"{layer}_error"


class Graph:
    """A symbol as one call: arguments in the symbol's own order, the model's arrays bound once."""

    def __init__(self, symbol: Array, arrays: Mapping[str, Array]) -> None:
        inputs: list[str] = symbol.list_inputs()
        data = [position for position, name in enumerate(inputs) if name in DATA]
        rest = [position for position, name in enumerate(inputs) if name not in DATA]
        flags = [("data_indices", data), ("param_indices", rest), ("static_alloc", True), ("static_shape", True)]
        self._operator = mx.nd.CachedOp(symbol, flags)
        self._arguments: list[Array] = [arrays.get(name) for name in inputs]
        self._places = [inputs.index(name) for name in DATA if name in inputs]

    def __call__(self, *data: Array) -> Array:
        """Run on images and, where the symbol has them, labels."""
        for place, array in zip(self._places, data, strict=False):
            self._arguments[place] = array
        return self._operator(*self._arguments)


class Part:
    """Consecutive layers whose backward runs apart from the others', so that gradients are ready in between.

    Each is a bound executor: without autograd's records of what came from where, a step costs less Python than with a
    `Graph` for each part.
    """

    def __init__(
        self,
        symbol: Array,
        values: Mapping[str, Array],
        gradients: Mapping[str, Array],
        statistics: Mapping[str, Array],
        factored: Mapping[str, int],
        *,
        adds: bool,
    ) -> None:
        """`factored` are the units of its factored layers, whose inputs the symbol has as its outputs after the first.

        `adds` is whether backward adds to the gradients, instead of overwriting them.
        """
        self._adds = adds
        self._symbol = symbol
        self._factored = factored
        self.inputs: dict[str, Array] = {}
        """What came to the factored layers: (batch, ...) arrays that every forward fills."""
        self.errors: dict[str, Array] = {}
        """The gradients of their outputs: (batch, units) arrays that every backward fills."""
        self._values = values
        self._gradients = gradients
        self._statistics = statistics
        self._executor: Array = None

    def take(self, images: Array, labels: Array, *, first: bool) -> None:
        """Enqueue what hands the input over.

        Args:
            images: of the first part (batch, side, side) uint8, in units of the data set's pixels; else
                what comes from the part before, dtype float32, always in the same array, where it lies already.
            labels: (batch,) float32, numbers of classes, no unit.
            first: whether this is the model's first part.
        """
        if not self._executor:
            self._bind(images, labels, first=first)
        if first:
            images.copyto(self._images)
        if self._label is not None:
            labels.copyto(self._label)

    def forward(self) -> Array:
        """Enqueue.

        Returns:
            the part's output, (batch, channels, side, side) or (batch, units) float32, no unit; of the
                last part (two,).
        """
        return self._executor.forward(is_train=True)[0]

    def backward(self, head: Array) -> Array:
        """Enqueue.

        Args:
            head: the gradient of the part's output, shape (batch, units) or so as `forward` gives, dtype
                float32, no unit.

        Returns:
            the gradient of its input, shape (batch, units) or so as it came, dtype float32, no unit; None
                before the first layer.
        """
        self._executor.backward([head, *self.inputs.values()])  # no gradient comes from there
        return self._input_gradient

    def _bind(self, images: Array, labels: Array, *, first: bool) -> None:
        """Fix every array, now that shapes are known: an executor's output is the same memory in every step."""
        names = self._symbol.list_arguments()
        self._images = images.copy() if first else images
        self._label = labels.copy() if LABEL in names else None
        self._input_gradient = None if first else mx.nd.zeros(images.shape)
        forms = {name: (len(labels), units) for name, units in self._factored.items()}
        self.errors = {name: mx.nd.zeros(form) for name, form in forms.items()}
        zeros = {error_of(name): mx.nd.zeros(form) for name, form in forms.items()} | self._untrained()
        errors = {error_of(name): array for name, array in self.errors.items()} | self._untrained()
        arrays = {**self._values, **zeros, IMAGES: self._images, LABEL: self._label}
        gradients = {**self._gradients, **errors, IMAGES: self._input_gradient}
        self._executor = self._symbol.bind(
            mx.cpu(),
            {name: arrays[name] for name in names},
            {name: gradients[name] for name in names if gradients.get(name) is not None},
            {name: self._request(name, gradients.get(name)) for name in names},
            {name: self._statistics[name] for name in self._symbol.list_auxiliary_states()},
        )
        self.inputs = dict(zip(self._factored, self._executor.outputs[1:], strict=True))

    def _untrained(self) -> dict[str, Array]:
        """Zeros in the form of the symbol's variables that are neither data nor trained: those that say their form."""
        said = self._symbol.attr_dict().items()
        return {name: mx.nd.zeros(literal_eval(own[_FORM])) for name, own in said if _FORM in own}

    def _request(self, name: str, gradient: Array) -> str:
        """What backward does with an array's gradient, in MXNet's words."""
        if gradient is None:
            return "null"
        return "add" if self._adds and name in self._gradients else "write"
