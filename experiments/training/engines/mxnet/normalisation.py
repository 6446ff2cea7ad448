"""`SharedNormalisation` as an operator of MXNet's, which runs it on a thread of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mxnet as mx
import numpy as np
import numpy.typing as npt

from ..base import Array, Floats
from ..normalisation import SharedNormalisation
from .memory import MxnetMemory

_NAME = "shared_normalisation"

_LAYERS: list[SharedNormalisation] = []
"""Operators are told texts alone: a layer's is its place here."""


def shared(
    layer: SharedNormalisation, arrays: Mapping[str, Array], turn: Array | None, name: str
) -> tuple[Array, Array]:
    """The layer's symbols: what it makes, and whose turn it then is.

    MXNet may run what does not depend on each other in any order, but all workers must normalise in one: so each layer takes
    a value that the one before it in the part makes, and backward the other way round.

    Args:
        layer: it.
        arrays: symbols by name: data (images, channels, ...) float32, no unit; scale and shift (channels,)
            float32, no unit; mean and variance of what is kept (channels,) float32, in units of what is normalised.
        turn: as the layer before it in the part gave it, (one,) float32, no unit; None for the first.
        name: of the operator.

    Returns:
        symbols, (images, channels, side, side) or (images, channels) float32, no unit; and (one,) float32.
    """
    _LAYERS.append(layer)
    if turn is None:
        turn = mx.sym.zeros((1,))
    found = mx.sym.Custom(**arrays, turn=turn, name=name, op_type=_NAME, place=len(_LAYERS) - 1)
    return found[0], found[1]


class _Operator(mx.operator.CustomOp):  # type: ignore[misc]  # MXNet has no types
    """When MXNet calls it, what it hands over lies ready."""

    def __init__(self, layer: SharedNormalisation) -> None:
        super().__init__()
        self._layer = layer

    def forward(
        self,
        is_train: bool,
        req: Sequence[str],
        in_data: Sequence[Array],
        out_data: Sequence[Array],
        aux: Sequence[Array],
    ) -> None:
        values, scale, shift, _ = map(_seen, in_data)
        self._layer.forward(values, scale, shift, _seen(out_data[0]))
        self._layer.keep(*map(_seen, aux))
        if req[1] != "null":
            _seen(out_data[1])[:] = 0

    def backward(
        self,
        req: Sequence[str],
        out_grad: Sequence[Array],
        in_data: Sequence[Array],
        out_data: Sequence[Array],
        in_grad: Sequence[Array],
        aux: Sequence[Array],
    ) -> None:
        values, scale, *_ = map(_seen, in_data)
        of_values = np.empty_like(values)
        of_arrays = self._layer.backward(values, scale, _seen(out_grad[0]), of_values)
        gradients: Sequence[npt.NDArray[Any]] = (of_values, *of_arrays, np.zeros(1, np.float32))
        for how, array, gradient in zip(req, in_grad, gradients, strict=True):
            if how == "add":
                _seen(array)[:] += gradient
            elif how != "null":
                _seen(array)[:] = gradient


@mx.operator.register(_NAME)
class _Properties(mx.operator.CustomOpProp):  # type: ignore[misc]
    def __init__(self, place: str) -> None:
        super().__init__(need_top_grad=True)
        self._layer = _LAYERS[int(place)]

    def list_arguments(self) -> list[str]:
        return ["data", "scale", "shift", "turn"]

    def list_outputs(self) -> list[str]:
        return ["normalised", "turn"]

    def list_auxiliary_states(self) -> list[str]:
        return ["mean", "variance"]

    def infer_shape(self, in_shape: Sequence[Sequence[int]]) -> tuple[Sequence[object], ...]:
        channels = [in_shape[0][1]]
        return [in_shape[0], channels, channels, [1]], [in_shape[0], [1]], [channels, channels]

    def create_operator(self, ctx: object, shapes: object, dtypes: object) -> _Operator:
        return _Operator(self._layer)


def _seen(array: Array) -> Floats:
    return MxnetMemory(array, waits=False).idle().reshape(array.shape)
