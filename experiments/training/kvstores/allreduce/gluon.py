"""The allreduce exchange as a plug-in for MXNet: `gluon.Trainer(..., kvstore=mx.kv.create("allreduce"))`.

For programs with a loop of their own, on x86-64 and arm64 alike: it needs no DIST_KVSTORE. Import this module first; give
the Trainer the store, not its name (with a name and one device it would use no store at all); and give all workers the
same first values, or `broadcast` them, since a Trainer does that only after the first backward. As with `dist_sync`,
gradients are summed over the workers, so `trainer.step(batch_size * store.num_workers)`. `AllreduceKVStore` is faster: a
Trainer hands over one array after the other, when backward has finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import mxnet as mx
import numpy as np

from ...engines.base import Array
from ...engines.mxnet.engine import engine_in_turns
from ...reporting.phases import Phases
from ...trial import Seat
from .exchange import Exchange
from .links import Links

Arrays = Array | Sequence[Array]


@mx.kvstore.KVStoreBase.register
class AllReduce(mx.kvstore.KVStoreBase):  # type: ignore[misc]  # MXNet has no types
    """MXNet's interface to `Exchange`. All workers make the same calls in the same order."""

    type = "allreduce"
    rank = 0
    num_workers = 1

    def __init__(self) -> None:
        self._links = Links(Seat.from_environment(), 1, phases=Phases(in_turns=engine_in_turns()))
        self.rank = self._links.rank
        self.num_workers = self._links.workers
        self._exchanges: dict[tuple[int, np.dtype[Any]], Exchange] = {}

    def broadcast(self, key: str | int, value: Arrays, out: Arrays, priority: int = 0) -> None:
        """Put worker 0's `value` into all of `out`."""
        own = _first(value).asnumpy()
        _fill(out, self._sum(own if self.rank == 0 else np.zeros_like(own)))

    def pushpull(self, key: str | int, value: Arrays, out: Arrays | None = None, priority: int = 0) -> None:
        """Sum `value` over this worker's devices and over the workers, into `out` or else into `value`."""
        total = sum(array.asnumpy() for array in _listed(value))
        _fill(value if out is None else out, self._sum(np.asarray(total)))

    @staticmethod
    def is_capable(capability: str) -> bool:
        """No optimizer: workers update."""
        return False

    def set_optimizer(self, optimizer: Any) -> NoReturn:
        """Not offered."""
        raise NotImplementedError("allreduce updates on the workers: give gluon.Trainer update_on_kvstore=False")

    def close(self) -> None:
        """Leave the others."""
        self._links.close()

    def _sum(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        kind = (values.size, values.dtype)
        if kind not in self._exchanges:
            self._exchanges[kind] = Exchange(self._links, 0, *kind)
        return self._exchanges[kind].sum(values.ravel()).reshape(values.shape)


def _listed(arrays: Arrays) -> Sequence[Array]:
    return arrays if isinstance(arrays, list | tuple) else [arrays]


def _first(arrays: Arrays) -> Array:
    return _listed(arrays)[0]


def _fill(arrays: Arrays, values: np.ndarray[Any, Any]) -> None:
    for array in _listed(arrays):
        array[:] = values
