"""No store: every worker trains alone on its shard, nothing is sent. The control for all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from .. import trial
from ..reporting.meters import Vector
from ..reporting.phases import BACKWARD, UPDATE, Phases
from ..rules.common import Method
from ..rules.common.descent import OPTIONS as STEP_OPTIONS
from ..sharding import Shares
from ..stepping import Stepper
from .base import KVStore
from .registration import Opening, Registration

if TYPE_CHECKING:
    from ..engines.base import Model


class IndependentKVStore(KVStore):
    """`workers` models that never meet. `rank` and `workers` come from the environment; alone where that is empty.

    Losses and accuracies are of this worker's own model and shards: `reduce` has nobody to ask.
    """

    name = "none"
    shared = False

    def __init__(self, opening: Opening) -> None:
        self.rank = trial.rank()
        self.workers = trial.world_size()
        self._method = Method.of(opening.options.own)
        self.phases = Phases(in_turns=opening.engine.in_turns())

    def buckets(self, sizes: Sequence[int]) -> list[int]:
        """One: whatever is done to all values is then done at once."""
        return [len(sizes)]

    def attach(self, model: Model, shares: Shares) -> None:
        """Keep own values: the same seed gives every worker the same ones."""
        self._model = model
        self._batch_size = shares.own
        self._stepper = Stepper(model, self._method)

    def step(self, learning_rate: float) -> None:
        """Apply own gradients."""
        if self.phases.sampled:
            self._model.wait()
        self.phases.compute(BACKWARD)
        self._stepper.step(learning_rate, self._batch_size)
        if self.phases.sampled:
            self._model.wait()
        self.phases.compute(UPDATE)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The steps' velocity."""
        return {**self._stepper.state()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """The steps' velocity."""
        self._stepper.restore(state)

    def reduce(self, values: Vector) -> Vector:
        """Give the values back."""
        return values

    def close(self) -> None:
        """Wait for the engine to come to rest."""
        self._model.wait()


KVSTORE = Registration("none", IndependentKVStore, options=STEP_OPTIONS)
