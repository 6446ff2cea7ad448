"""MXNet arrays seen as NumPy arrays without a copy."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
from mxnet.base import _LIB, check_call

from ..base import Array, Floats, Memory

_LOOK_SECONDS = 5.0
_Operation = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class _Context(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int32), ("id", ctypes.c_int32))


# Of include/mxnet/base.h and engine.h: the processor, and FnProperty::kCPUPrioritized.
_CPU = _Context(1, 0)
_PRIORITISED = ctypes.c_int(3)


class MxnetMemory(Memory):
    """The memory of one float32 array on the CPU."""

    def __init__(self, array: Array, *, waits: bool) -> None:
        """`waits`: whether the engine has threads. One in turns never has anything left, and asking it costs an operation."""
        self._handle = array.handle
        self._array = array  # keeps the handle alive
        self._address = ctypes.c_void_p()
        self._look = (self._handle, ctypes.byref(self._address))
        self._ends = {reads: _End(array.handle, reads=reads) for reads in (False, True)} if waits else {}
        self._seen: int | None = None
        self._view: Floats = np.empty(0, np.float32)

    def settled(self) -> Floats:
        """The elements, flat, once MXNet's engine has finished with the array. MXNet may move it when it is next written."""
        return self._after(reads=False)

    def written(self) -> Floats:
        """As `settled`, once no operation is left that writes the array."""
        return self._after(reads=True)

    def idle(self) -> Floats:
        """As `settled` without waking the engine's threads."""
        check_call(_LIB.MXNDArrayGetData(*self._look))
        if self._address.value != self._seen:
            self._seen = self._address.value
            floats = ctypes.cast(self._address, ctypes.POINTER(ctypes.c_float))
            self._view = np.ctypeslib.as_array(floats, shape=(self._array.size,))
        return self._view

    def _after(self, *, reads: bool) -> Floats:
        if self._ends:
            self._ends[reads].wait()
        return self.idle()


class _End:
    """Waits until no operation that was enqueued before writes an array; unless it only `reads`, none that reads it either.

    MXNet's own `MXNDArrayWaitToWrite` does that by an operation in the queue of its one computing thread: behind all that
    came there before it, though it does not depend on that. This one has a thread that does not compute.
    """

    def __init__(self, handle: ctypes.c_void_p, *, reads: bool) -> None:
        self._handle = handle
        here, nowhere = ((ctypes.c_void_p * 1)(handle), 1), (None, 0)
        self._places = (*here, *nowhere) if reads else (*nowhere, *here)
        self._reached = threading.Lock()
        self._reached.acquire()
        self._operation = _Operation(lambda *_: self._reached.release())  # kept: MXNet has no reference

    def wait(self) -> None:
        """Raises MXNetError where an operation failed that writes the array."""
        cpu, prioritised = ctypes.byref(_CPU), ctypes.byref(_PRIORITISED)
        check_call(_LIB.MXEnginePushSyncND(self._operation, None, None, cpu, *self._places, prioritised, 0, b"settled"))
        while not self._reached.acquire(timeout=_LOOK_SECONDS):
            check_call(_LIB.MXNDArrayWaitToRead(self._handle))  # after a failed operation, no other is run
