"""Consecutive layers by themselves on PyTorch: a graph for each micro-batch that is under way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...models.layers import Shape
from ..base import Array, Floats, Parameter, Stage
from .piece import Piece, clear, flat

_NOTHING: Floats = np.empty(0, np.float32)


class TorchStage(Stage):
    """Outputs and gradients are new tensors each time; what comes from other stages has a place a slot."""

    def __init__(
        self,
        pieces: Sequence[Piece],
        parameters: Sequence[Parameter],
        inputs: Shape | None,
        outputs: Shape | None,
    ) -> None:
        """`pieces` are the same layers, a slot each, and `parameters` the buffers of theirs.

        `inputs` and `outputs` are shapes of a micro-batch: None before the model's first layers, and behind its last.
        """
        self._pieces = pieces
        self._parameters = parameters
        self._inputs = [torch.zeros(inputs, requires_grad=True) if inputs else None for _ in pieces]
        self._errors = [torch.zeros(outputs) if outputs else None for _ in pieces]

    def begin(self) -> None:
        """All at once."""
        clear(self._parameters)

    def inputs(self, slot: int) -> Floats:
        """The tensor's own memory."""
        return _memory(self._inputs[slot])

    def errors(self, slot: int) -> Floats:
        """The tensor's own memory."""
        return _memory(self._errors[slot])

    def forward(self, slot: int, images: Array, labels: Array) -> Floats:
        """The graph stays with the slot."""
        inputs = self._inputs[slot]
        return flat(self._pieces[slot].forward(images if inputs is None else inputs, labels))

    def backward(self, slot: int) -> Floats:
        """The graph goes."""
        return _memory(self._pieces[slot].backward(self._errors[slot]))


def _memory(tensor: torch.Tensor | None) -> Floats:
    return _NOTHING if tensor is None else flat(tensor)
