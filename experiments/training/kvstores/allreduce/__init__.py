"""`allreduce`: the workers add up their gradients among themselves. Plain TCP; needs no servers and nothing but NumPy."""

from __future__ import annotations

from ...rules.common.cadence import OPTIONS as CADENCE_OPTIONS
from ...rules.common.descent import OPTIONS as STEP_OPTIONS
from ...split import SPLIT
from ...towers import TOWERS
from ..base import KVStore
from ..registration import BFLOAT16, FLOAT32, Opening, Registration


def _open(opening: Opening) -> KVStore:
    strategy = opening.options.own.get("strategy")
    if strategy == SPLIT:
        from ...split.store import SplitKVStore

        return SplitKVStore(opening)
    if strategy == TOWERS:
        from ...towers.store import TowersKVStore

        return TowersKVStore(opening)
    from .kvstore import AllreduceKVStore

    return AllreduceKVStore(opening)


KVSTORE = Registration(
    "allreduce",
    _open,
    wires=(FLOAT32, BFLOAT16),
    options=(
        "rule",
        "strategy",
        "dense_gradients",
        "batch_statistics",
        "sign_messages",
        *CADENCE_OPTIONS,
        *STEP_OPTIONS,
    ),
)
