"""A worker's training step in a pipeline: its stage's passes, and the messages to and from its neighbours."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from ..engines.base import Batch, Floats, Model
from ..kvstores.allreduce.exchange import as_bytes
from ..kvstores.allreduce.links import Link, Links
from ..kvstores.base import KVStore
from ..reporting.meters import Vector
from ..reporting.phases import BACKWARD, FORWARD, PULL, PUSH
from ..sharding import Shares
from .plan import Plan
from .schedule import passes


class Passes(ABC):
    """Stands in for a model in the training loop."""

    @abstractmethod
    def train(self, batch: Batch, store: KVStore) -> Vector:
        """All passes of a step.

        Args:
            batch: a replica's, as the engine has it.
            store: as it was given before.

        Returns:
            (two,) float64: loss and count of right answers, no unit; zeros but for the last stage.
        """

    def read(self, outcome: Vector) -> Vector:
        """It is there.

        Args:
            outcome: (two,) float64, no unit: what `train` gave.

        Returns:
            (two,) float64, no unit: the same.
        """
        return outcome


class StagePasses(Passes):
    """On any engine, over the trial's own connections.

    Outputs go to the next stage and gradients of them come back, as float32, one message for each micro-batch and direction.
    Sending does not wait. A slot's output is written again only when its gradient has come, so when it has been sent; before a
    gradient is written again, the last one is handed over.
    """

    def __init__(self, plan: Plan, links: Links, model: Model, shares: Shares) -> None:
        """`shares` is how single workers would share a batch."""
        stage, self._size = plan.stage(links.rank), plan.shares(shares).own // plan.micro_batches
        self._slots = plan.under_way(stage)
        self._stage = model.stage(plan.layers[stage], self._slots, self._size)
        self._passes = passes(plan.schedule, stage, plan.stages, plan.micro_batches)
        self._before = links.to(0, links.rank - 1) if stage else None
        self._after = links.to(0, links.rank + 1) if stage < plan.stages - 1 else None
        self._phases = links.phases

    def train(self, batch: Batch, store: KVStore) -> Vector:
        """One pass after the other."""
        outcome = np.zeros(2)
        self._stage.begin()
        for backward, micro_batch in self._passes:
            slot = micro_batch % self._slots
            if backward:
                self._backward(slot)
                continue
            place = slice(micro_batch * self._size, (micro_batch + 1) * self._size)
            found = self._forward(slot, (batch[0][place], batch[1][place]))
            if self._after is None:
                outcome += found
        return outcome

    def _forward(self, slot: int, batch: Batch) -> Floats:
        if self._before:
            self._take(self._before, self._stage.inputs(slot))
        output = self._stage.forward(slot, *batch)
        self._phases.compute(FORWARD)
        if self._after:
            self._give(self._after, output)
        return output

    def _backward(self, slot: int) -> None:
        if self._after:
            self._take(self._after, self._stage.errors(slot))
        if self._before:
            self._before.flush()
            self._phases.lap(PUSH)
        gradient = self._stage.backward(slot)
        self._phases.compute(BACKWARD)
        if self._before:
            self._give(self._before, gradient)

    def _take(self, link: Link, values: Floats) -> None:
        link.receive(as_bytes(values))
        self._phases.lap(PULL)

    def _give(self, link: Link, values: Floats) -> None:
        link.send(as_bytes(values))
        self._phases.lap(PUSH)
