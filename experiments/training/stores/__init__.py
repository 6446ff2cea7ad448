"""The stores by name. Each is imported when it is opened, since each needs libraries the others do not."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from .base import Store

_STORES = {
    "dist_sync": ("parameter_server", "SynchronousStore"),
    "dist_async": ("parameter_server", "AsynchronousStore"),
    "allreduce": ("collective", "CollectiveStore"),
    "none": ("independent", "NoStore"),
}

NAMES = tuple(_STORES)


def open_store(name: str) -> Store:
    """Open the store of that name; this process's role stands in the environment (`DMLC_*`, `HARNESS_WORKER_RANK`)."""
    module, cls = _STORES[name]
    return cast(Store, getattr(import_module(f".{module}", __package__), cls)())
