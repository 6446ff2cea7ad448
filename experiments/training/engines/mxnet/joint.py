"""Between two parts of a split model, where the workers exchange: the arrays on both sides."""

from __future__ import annotations

from collections.abc import Callable

import mxnet as mx

from ...kvstores.base import KVStore
from ...reporting.phases import BACKWARD, FORWARD
from ...split.parts import Plan
from ..base import Array
from .memory import MxnetMemory


class Joint:
    """Hands over, through the store, what the part before it made, and the gradient of what the part behind it took."""

    def __init__(self, plan: Plan, number: int, memory: Callable[[Array], MxnetMemory]) -> None:
        """Before the part of this number; `memory` is the model's."""
        self._plan = plan
        self._number = number
        self._memory = memory
        self._taken: Array = None

    def forth(self, made: Array, images: int, store: KVStore) -> Array:
        """Wait for what was made, and exchange it.

        Args:
            made: (rows, columns) float32, no unit: always the same array.
            images: of this worker.
            store: exchanges.

        Returns:
            (rows, columns) float32, no unit: what the part behind takes, always the same array.
        """
        if self._taken is None:
            self._forms = self._plan.forms(self._number, images)
            self._head, self._taken = (mx.nd.zeros(form) for form in self._forms)
            self._made, self._head_memory, self._taken_memory = map(self._memory, (made, self._head, self._taken))
            self._gradient: MxnetMemory | None = None
        own = self._made.written().reshape(self._forms[0])
        store.phases.compute(FORWARD)
        store.cross(self._number, own, self._taken_memory.settled().reshape(self._forms[1]))
        return self._taken

    def back(self, gradient: Array, store: KVStore) -> Array:
        """Wait for the gradient of what was taken, and exchange it.

        Args:
            gradient: (rows, columns) float32, no unit: always the same array.
            store: exchanges.

        Returns:
            (rows, columns) float32, no unit: the gradient of what was made.
        """
        if self._gradient is None:
            self._gradient = self._memory(gradient)
        own = self._gradient.written().reshape(self._forms[1])
        store.phases.compute(BACKWARD)
        store.cross_back(self._number, own, self._head_memory.settled().reshape(self._forms[0]))
        return self._head
