"""MXNet arrays seen as NumPy arrays without a copy."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt
from mxnet.base import _LIB, check_call

from .base import Array


def settled(array: Array) -> npt.NDArray[np.float32]:
    """The memory of a float32 array on the CPU, flat, once MXNet's engine has finished with it.

    Valid until the engine is next given something that writes `array`: ask again after that, since MXNet may move it.
    """
    check_call(_LIB.MXNDArrayWaitToWrite(array.handle))  # no reader and no writer is left
    address = ctypes.c_void_p()
    check_call(_LIB.MXNDArrayGetData(array.handle, ctypes.byref(address)))
    floats = ctypes.cast(address, ctypes.POINTER(ctypes.c_float))
    return np.ctypeslib.as_array(floats, shape=(array.size,))
