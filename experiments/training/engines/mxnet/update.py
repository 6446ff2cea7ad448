"""The SGD step on the worker."""

from __future__ import annotations

from collections.abc import Sequence

import mxnet as mx

from ..base import Parameter

_MOST = 60
"""Arrays of one operation: MXNet writes behind a table of so many."""


class Update:
    """value -= scale * gradient for all parameters in as few engine operations as there can be."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        chunks = (parameters[start : start + _MOST] for start in range(0, len(parameters), _MOST))
        self._operations = [_Operation(chunk) for chunk in chunks]

    def __call__(self, scale: float) -> None:
        """Enqueue the step."""
        for operation in self._operations:
            operation(scale)


class _Operation:
    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._values = [parameter.value for parameter in parameters]
        self._pairs = [array for each in parameters for array in (each.value, each.gradient)]
        self._ones = (1.0,) * len(self._values)
        self._zeros = (0.0,) * len(self._values)

    def __call__(self, scale: float) -> None:
        mx.nd.multi_sgd_update(
            *self._pairs,
            num_weights=len(self._values),
            lrs=self._ones,
            wds=self._zeros,
            rescale_grad=scale,
            out=self._values,
        )
