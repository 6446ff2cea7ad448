"""The stores by name. Each is imported when it is opened, since each needs libraries the others do not."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import cast

from ..errors import ProgramError
from . import server_shards
from .base import Store

_STORES = {
    "dist_sync": ("parameter_server", "SynchronousStore"),
    "dist_async": ("parameter_server", "AsynchronousStore"),
    "allreduce": ("collective", "CollectiveStore"),
    "none": ("independent", "NoStore"),
}

NAMES = tuple(_STORES)


REPLACEABLE = "HARNESS_REPLACEABLE"
"""Set where a worker that dies may be followed by another."""

FOLLOWS = "HARNESS_FOLLOWS_AFTER"
"""Set for a worker that takes a dead one's place: how many epochs that one had finished."""

WIRES = ("float32", "bfloat16")


def environment(name: str, sizes: Sequence[int], given: Mapping[str, str]) -> dict[str, str]:
    """What a store wants MXNet to find in the environment `given`, where the user has not said otherwise.

    `sizes` are the elements of the model's arrays in forward order. `dist_sync` and `dist_async` spread them evenly over
    their servers. `allreduce` computes and exchanges in turns on one thread: the kernel moves its bytes meanwhile, and an
    engine with threads of its own would only add their wake-ups (see docs/performance.md).
    """
    wanted = {
        "allreduce": {"MXNET_ENGINE_TYPE": "NaiveEngine"},
        "dist_sync": server_shards.environment(sizes, given),
        "dist_async": server_shards.environment(sizes, given),
    }
    return {variable: value for variable, value in wanted.get(name, {}).items() if variable not in given}


def open_store(name: str, synchronise_every: int = 1, wire: str = "float32", finished: int = 0) -> Store:
    """Open the store of that name; this process's role stands in the environment (`DMLC_*`, `HARNESS_WORKER_RANK`).

    `finished` is how many epochs are done: a worker that takes a dead one's place must meet the others in the next.

    Raises ProgramError where `synchronise_every` or `wire` ask for what the store has not.
    """
    module, cls = _STORES[name]
    store = getattr(import_module(f".{module}", __package__), cls)
    if name == "allreduce":
        return cast(Store, store(synchronise_every, wire))
    if (synchronise_every, wire) != (1, "float32"):
        raise ProgramError(
            f"the store {name} exchanges float32 in every step",
            "use --kvstore allreduce for --synchronise-every and --wire, or leave them out",
        )
    if name == "dist_async" and os.environ.get(REPLACEABLE):
        replaceable = import_module(".replaceable", __package__).ReplaceableStore
        return cast(Store, replaceable(finished, follows=FOLLOWS in os.environ))
    return cast(Store, store())
