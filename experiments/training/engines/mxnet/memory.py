"""MXNet arrays seen as NumPy arrays without a copy."""

from __future__ import annotations

import ctypes

import numpy as np
from mxnet.base import _LIB, check_call

from ..base import Array, Floats, Memory


class MxnetMemory(Memory):
    """The memory of one float32 array on the CPU."""

    def __init__(self, array: Array, *, waits: bool) -> None:
        """`waits`: whether the engine has threads. One in turns never has anything left, and asking it costs an operation."""
        self._handle = array.handle
        self._array = array  # keeps the handle alive
        self._address = ctypes.c_void_p()
        self._look = (self._handle, ctypes.byref(self._address))
        self._waits = waits
        self._seen: int | None = None
        self._view: Floats = np.empty(0, np.float32)

    def settled(self) -> Floats:
        """The elements, flat, once MXNet's engine has finished with the array. MXNet may move it when it is next written."""
        if self._waits:
            check_call(_LIB.MXNDArrayWaitToWrite(self._handle))  # no reader and no writer is left
        check_call(_LIB.MXNDArrayGetData(*self._look))
        if self._address.value != self._seen:
            self._seen = self._address.value
            floats = ctypes.cast(self._address, ctypes.POINTER(ctypes.c_float))
            self._view = np.ctypeslib.as_array(floats, shape=(self._array.size,))
        return self._view
