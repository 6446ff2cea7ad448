"""MXNet arrays seen as NumPy arrays without a copy."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt
from mxnet.base import _LIB, check_call

from ..phases import engine_in_turns
from .base import Array

Floats = npt.NDArray[np.float32]


class Memory:
    """The memory of one float32 array on the CPU."""

    def __init__(self, array: Array) -> None:
        self._handle = array.handle
        self._array = array  # keeps the handle alive
        self._address = ctypes.c_void_p()
        self._look = (self._handle, ctypes.byref(self._address))
        # an engine in turns never has anything left, and to ask it costs as much as an operation
        self._waits = not engine_in_turns()
        self._seen: int | None = None
        self._view: Floats = np.empty(0, np.float32)

    def settled(self) -> Floats:
        """The elements, flat, once MXNet's engine has finished with the array.

        Valid until the engine is next given something that writes the array: ask again after that, since MXNet may
        move it.
        """
        if self._waits:
            check_call(_LIB.MXNDArrayWaitToWrite(self._handle))  # no reader and no writer is left
        check_call(_LIB.MXNDArrayGetData(*self._look))
        if self._address.value != self._seen:
            self._seen = self._address.value
            floats = ctypes.cast(self._address, ctypes.POINTER(ctypes.c_float))
            self._view = np.ctypeslib.as_array(floats, shape=(self._array.size,))
        return self._view
