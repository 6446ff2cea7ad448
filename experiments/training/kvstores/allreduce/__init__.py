"""`allreduce`: the workers add up their gradients among themselves. Plain TCP; needs no servers and nothing but NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...rules.common.cadence import OPTIONS as CADENCE_OPTIONS
from ...rules.common.descent import OPTIONS as STEP_OPTIONS
from ..base import KVStore
from ..registration import BFLOAT16, FLOAT32, Opening, Registration


def _open(opening: Opening) -> KVStore:
    from .kvstore import AllreduceKVStore

    return AllreduceKVStore(opening)


def _environment(sizes: Sequence[int], given: Mapping[str, str]) -> dict[str, str]:
    """Compute and exchange in turns on one thread.

    The kernel moves the bytes meanwhile, and an engine with threads of its own would only add their wake-ups (see
    docs/explanation/performance.md).
    """
    return {"MXNET_ENGINE_TYPE": "NaiveEngine"}


KVSTORE = Registration(
    "allreduce",
    _open,
    wires=(FLOAT32, BFLOAT16),
    options=("rule", "dense_gradients", "sign_messages", *CADENCE_OPTIONS, *STEP_OPTIONS),
    environment=_environment,
)
