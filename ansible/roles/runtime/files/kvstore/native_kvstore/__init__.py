"""MXNet's distributed key-value store, `dist_sync` and `dist_async`, over this project's own native servers.

For dense float32 arrays on the CPU. `_mxnet_compatibility` registers it with MXNet where it is the node's implementation;
scripts that use `mx.kv.create`, Gluon's Trainer or `Module.fit` need no change.
"""

from .store import register

__all__ = ["register"]
