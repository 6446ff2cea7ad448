"""No store: every worker trains alone on its shard, nothing is sent. The control for all others."""

from __future__ import annotations

import os
from collections.abc import Sequence

import mxnet as mx

from ..phases import BACKWARD, UPDATE, Phases, engine_in_turns
from ..sharding import Shares
from .base import Parameter, Store, Vector
from .update import Update


class NoStore(Store):
    """`workers` models that never meet. `rank` and `workers` come from the environment; alone where that is empty.

    Losses and accuracies are of this worker's own model and shards: `reduce` has nobody to ask.
    """

    name = "none"
    shared = False

    def __init__(self) -> None:
        self.rank = int(os.environ.get("HARNESS_WORKER_RANK", "0"))
        self.workers = int(os.environ.get("DMLC_NUM_WORKER", "1"))
        self.phases = Phases(in_turns=engine_in_turns())

    def attach(self, parameters: Sequence[Parameter], shares: Shares) -> None:
        """Keep own values: the same seed gives every worker the same ones."""
        self._update = Update(parameters)
        self._batch_size = shares.own

    def step(self, learning_rate: float) -> None:
        """Apply own gradients."""
        if self.phases.sampled:
            mx.nd.waitall()
        self.phases.compute(BACKWARD)
        self._update(learning_rate / self._batch_size)
        if self.phases.sampled:
            mx.nd.waitall()
        self.phases.compute(UPDATE)

    def reduce(self, values: Vector) -> Vector:
        """Give the values back."""
        return values

    def close(self) -> None:
        """Wait for the engine to come to rest."""
        mx.nd.waitall()
