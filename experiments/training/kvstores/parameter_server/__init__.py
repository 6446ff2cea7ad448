"""`dist_sync` and `dist_async`: MXNet's own distributed key-value store, whose servers keep the values."""

from __future__ import annotations

import os

from contract import wire

from ...rules.common.descent import OPTIONS as STEP_OPTIONS
from ...rules.downpour import Downpour
from ..base import KVStore
from ..registration import FLOAT32, TWO_BIT, Opening, Registration
from . import server_shards


def _open_synchronous(opening: Opening) -> KVStore:
    from .synchronous import SynchronousKVStore

    return SynchronousKVStore(opening)


def _open_asynchronous(opening: Opening) -> KVStore:
    if opening.options.rule == Downpour.name:
        from .downpour import DownpourKVStore

        return DownpourKVStore(opening)
    # what a worker has not sent yet of two bits dies with it: none is replaceable
    if os.environ.get(wire.REPLACEABLE) and opening.options.wire != TWO_BIT:
        from .replaceable import ReplaceableKVStore

        return ReplaceableKVStore(opening)
    from .asynchronous import AsynchronousKVStore

    return AsynchronousKVStore(opening)


KVSTORE = tuple(
    Registration(
        name,
        opens,
        engines=("mxnet",),
        wires=(FLOAT32, TWO_BIT),
        options=("kvstore_implementation", "servers", "threshold", *more),
        roles=("scheduler", "server", "worker"),
        environment=server_shards.environment,  # spreads the arrays evenly over the servers
    )
    for name, opens, more in (
        ("dist_sync", _open_synchronous, STEP_OPTIONS),
        ("dist_async", _open_asynchronous, ("rule",)),
    )
)
