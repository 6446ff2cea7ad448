"""Consecutive layers by themselves on MXNet: an executor for each micro-batch that may be under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mxnet as mx
import numpy as np

from ...models.layers import Shape
from ..base import Array, Floats, Stage
from .graph import Part
from .memory import MxnetMemory

_NOTHING: Floats = np.empty(0, np.float32)


class MxnetStage(Stage):
    """Waits for MXNet's threads at the end of every call that computes."""

    def __init__(
        self,
        parts: Sequence[Part],
        gradients: Sequence[Array],
        inputs: Shape | None,
        outputs: Shape | None,
        memory: Callable[[Array], MxnetMemory],
    ) -> None:
        """`parts` are the same layers, a slot each, and `gradients` the buffers of theirs.

        `inputs` and `outputs` are shapes of a micro-batch: None before the model's first layers, and behind its last.
        """
        self._gradients = gradients
        self._computed = [memory(gradient) for gradient in gradients]
        self._slots = [_Slot(part, inputs, outputs, memory) for part in parts]

    def begin(self) -> None:
        """Enqueue it: executors come after it by themselves."""
        for gradient in self._gradients:
            gradient[:] = 0

    def inputs(self, slot: int) -> Floats:
        """The executor's own memory."""
        inputs = self._slots[slot].inputs
        return inputs.settled() if inputs else _NOTHING

    def errors(self, slot: int) -> Floats:
        """The executor's own memory."""
        errors = self._slots[slot].errors
        return errors.settled() if errors else _NOTHING

    def forward(self, slot: int, images: Array, labels: Array) -> Floats:
        """Run one executor."""
        return self._slots[slot].forward(images, labels)

    def backward(self, slot: int) -> Floats:
        """Run one executor."""
        found = self._slots[slot].backward()
        for gradient in self._computed:
            gradient.written()
        return found


class _Slot:
    """One executor, and the memory of what goes in and out."""

    def __init__(
        self, part: Part, inputs: Shape | None, outputs: Shape | None, memory: Callable[[Array], MxnetMemory]
    ) -> None:
        self._part = part
        self._memory = memory
        self._input = mx.nd.zeros(inputs) if inputs else None
        self._head = mx.nd.zeros(outputs) if outputs else mx.nd.ones((2,))
        self.inputs = None if self._input is None else memory(self._input)
        self.errors = memory(self._head) if outputs else None
        self._output: MxnetMemory | None = None
        self._gradient: MxnetMemory | None = None

    def forward(self, images: Array, labels: Array) -> Floats:
        given = images if self._input is None else self._input
        self._part.take(given, labels, first=self._input is None)
        output = self._part.forward()
        if self._output is None:
            self._output = self._memory(output)
        return self._output.written()

    def backward(self) -> Floats:
        gradient = self._part.backward(self._head)
        if gradient is None:
            return _NOTHING
        if self._gradient is None:
            self._gradient = self._memory(gradient)
        return self._gradient.written()
