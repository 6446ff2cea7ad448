"""The stores by name. Each is imported when it is opened, since each needs libraries the others do not."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from ..errors import ProgramError
from . import server_shards, two_bit
from .base import Store

_STORES = {
    "dist_sync": ("parameter_server", "SynchronousStore"),
    "dist_async": ("parameter_server", "AsynchronousStore"),
    "allreduce": ("collective", "CollectiveStore"),
    "none": ("independent", "NoStore"),
}

NAMES = tuple(_STORES)

_WIRES = {
    "dist_sync": ("float32", two_bit.WIRE),
    "dist_async": ("float32", two_bit.WIRE),
    "allreduce": ("float32", "bfloat16"),
    "none": ("float32",),
}

REPLACEABLE = "HARNESS_REPLACEABLE"
"""Set where a worker that dies may be followed by another."""

FOLLOWS = "HARNESS_FOLLOWS_AFTER"
"""Set for a worker that takes a dead one's place: how many epochs that one had finished."""

COMPUTE_AS = "HARNESS_COMPUTE_AS"
"""Set where a node is measured without a store: the store that it will train with, to compute as it will then."""

WIRES = ("float32", "bfloat16", two_bit.WIRE)


def environment(name: str, sizes: Sequence[int], given: Mapping[str, str]) -> dict[str, str]:
    """What a store wants MXNet to find in the environment `given`, where the user has not said otherwise.

    `sizes` are the elements of the model's arrays in forward order. `dist_sync` and `dist_async` spread them evenly over
    their servers. `allreduce` computes and exchanges in turns on one thread: the kernel moves its bytes meanwhile, and an
    engine with threads of its own would only add their wake-ups (see docs/performance.md). A store that `given` names in
    `COMPUTE_AS` goes before `name`.
    """
    wanted = {
        "allreduce": {"MXNET_ENGINE_TYPE": "NaiveEngine"},
        "dist_sync": server_shards.environment(sizes, given),
        "dist_async": server_shards.environment(sizes, given),
    }
    return {
        variable: value
        for variable, value in wanted.get(given.get(COMPUTE_AS, name), {}).items()
        if variable not in given
    }


@dataclass(frozen=True)
class Exchange:
    """What is asked of a store beside its name."""

    synchronise_every: int = 1
    """Steps between averages of the values."""
    wire: str = "float32"
    """How gradients travel, one of `WIRES`."""
    threshold: float | None = None
    """Of the 2-bit wire, in units of a worker's mean gradient; the default where None."""

    def check(self, name: str) -> None:
        """Raise ProgramError where this asks for what the store of that name has not."""
        if self.wire not in _WIRES[name]:
            having = [store for store, wires in _WIRES.items() if self.wire in wires]
            raise ProgramError(
                f"the store {name} does not exchange {self.wire}",
                f"use --kvstore {' or '.join(having)}, or leave --wire out",
            )
        if self.synchronise_every > 1 and name != "allreduce":
            raise ProgramError(
                f"the store {name} exchanges in every step", "use --kvstore allreduce, or leave --synchronise-every out"
            )
        if self.threshold is not None and self.wire != two_bit.WIRE:
            raise ProgramError(f"{self.wire} has no threshold", f"use --wire {two_bit.WIRE}, or leave --threshold out")


def open_store(name: str, exchange: Exchange, *, batch_size: int, rate: float, finished: int = 0) -> Store:
    """Open the store of that name; this process's role stands in the environment (`DMLC_*`, `HARNESS_WORKER_RANK`).

    `batch_size` images are a worker's step on average, `rate` is the highest learning rate. `finished` is how many epochs are
    done: a worker that takes a dead one's place must meet the others in the next.

    Raises ProgramError where `exchange` asks for what the store has not.
    """
    exchange.check(name)
    module, cls = _STORES[name]
    store = getattr(import_module(f".{module}", __package__), cls)
    if name == "allreduce":
        return cast(Store, store(exchange.synchronise_every, exchange.wire))
    if exchange.wire == two_bit.WIRE:  # what a worker has not sent yet dies with it: none is replaceable
        threshold = exchange.threshold or two_bit.DEFAULT_THRESHOLD
        return cast(Store, store(two_bit.pushed_threshold(name, threshold, batch_size, rate)))
    if name == "dist_async" and os.environ.get(REPLACEABLE):
        replaceable = import_module(".replaceable", __package__).ReplaceableStore
        return cast(Store, replaceable(finished, follows=FOLLOWS in os.environ))
    return cast(Store, store())
