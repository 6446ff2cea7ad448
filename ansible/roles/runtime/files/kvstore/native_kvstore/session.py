"""The process's place in the trial: the native library, joined once and left at the interpreter's exit."""

import atexit
import ctypes
import os
import sys
from pathlib import Path

import mxnet as mx
from mxnet.base import _LIB, MXNetError

PUSH, PULL, PUSHPULL = 6, 7, 8  # wire.h
_LIBRARY = Path(__file__).with_name("libkvstore.so")


class Rule(ctypes.Structure):
    """How a server applies gradients to one key's values; `struct rule` of wire.h."""

    _fields_ = (
        ("kind", ctypes.c_uint32),
        *((name, ctypes.c_float) for name in ("rate", "decay", "rescale", "clip", "momentum", "epsilon")),
    )


class Session:
    """What all stores of a process share. `synchronous` is the kind of its stores."""

    _started = None

    def __init__(self, synchronous):
        self._library = ctypes.CDLL(str(_LIBRARY))
        if self._library.kvstore_start(int(synchronous)):
            raise MXNetError("the key-value store did not start: see the message above")
        functions = (
            _LIB.MXEnginePushAsyncND,
            _LIB.MXNDArrayGetData,
            _LIB.MXShallowCopyNDArray,
            _LIB.MXNDArrayFree,
        )
        self._library.kvstore_bind(*(ctypes.cast(function, ctypes.c_void_p) for function in functions))
        self.synchronous = synchronous
        self.rank = self._library.kvstore_rank()
        self.workers = self._library.kvstore_workers()
        self.follows = "HARNESS_FOLLOWS_AFTER" in os.environ
        self.numbers = {}  # of keys that are text, in the order of their first use
        self._owner = os.getpid()
        atexit.register(self.leave)

    @classmethod
    def start(cls, synchronous):
        """The process's session. Raises MXNetError where it cannot join."""
        if cls._started is None or cls._started.synchronous != synchronous:
            cls._started = cls(synchronous)
        return cls._started

    def init(self, key, values):
        """Give the servers a key's values, a contiguous float32 array."""
        self._library.kvstore_init(key, ctypes.c_size_t(values.size), values.ctypes.data_as(ctypes.c_void_p))

    def optimise(self, key, size, rule):
        """Tell the servers a key's rule."""
        self._library.kvstore_optimise(key, ctypes.c_size_t(size), ctypes.byref(rule))

    def barrier(self):
        """Wait for all workers."""
        self._library.kvstore_barrier()

    def exchange(self, kind, keys, sizes, inputs, outputs, turns, priority):
        """Enqueue an operation for every key; all lists are of one length, `inputs` and `outputs` of handles."""
        count = len(keys)
        pointers = ctypes.c_void_p * count
        failed = self._library.kvstore_exchange(
            kind,
            count,
            (ctypes.c_int32 * count)(*keys),
            (ctypes.c_uint64 * count)(*sizes),
            pointers(*inputs),
            pointers(*outputs),
            pointers(*turns),
            (ctypes.c_int * count)(*priority),
        )
        if failed:
            raise MXNetError(
                _LIB.MXGetLastError().decode() if hasattr(_LIB, "MXGetLastError") else "the engine refuses"
            )

    def leave(self):
        """Tell the others that this worker has finished. One that failed has not: its watcher decides what becomes of them."""
        if os.getpid() == self._owner and getattr(sys, "last_value", None) is None:
            mx.nd.waitall()
            self._library.kvstore_stop()
