"""`allreduce`: the workers add up their gradients among themselves. Plain TCP; needs no servers and nothing but NumPy."""

from __future__ import annotations

from ...rules.common.cadence import OPTIONS as CADENCE_OPTIONS
from ...rules.common.descent import OPTIONS as STEP_OPTIONS
from ...split import SPLIT
from ..base import KVStore
from ..registration import BFLOAT16, FLOAT32, Opening, Registration


def _open(opening: Opening) -> KVStore:
    if opening.options.own.get("strategy") == SPLIT:
        from ...split.store import SplitKVStore

        return SplitKVStore(opening)
    from .kvstore import AllreduceKVStore

    return AllreduceKVStore(opening)


KVSTORE = Registration(
    "allreduce",
    _open,
    wires=(FLOAT32, BFLOAT16),
    options=("rule", "strategy", "dense_gradients", "sign_messages", *CADENCE_OPTIONS, *STEP_OPTIONS),
)
