"""What keeps a pipeline's workers in step: a stage's gradients are added up over its replicas, an epoch's values go to all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engines.base import Model
from ..kvstores.allreduce.exchange import Exchange, agree, as_bytes
from ..kvstores.allreduce.links import Links
from ..kvstores.allreduce.part import Part, Step
from ..kvstores.base import KVStore
from ..kvstores.registration import FLOAT32
from ..models.architecture import PlacedLayer
from ..reporting.meters import Vector
from ..reporting.phases import PULL, PUSH, UPDATE, Phases
from ..rules.common import Descent, Method
from ..rules.sgd import Sgd
from ..sharding import Shares
from ..trial import Seat
from .passes import Passes, StagePasses
from .plan import Plan, by_pytorch


def opened(plan: Plan, own: Mapping[str, Any]) -> PipelineKVStore:
    """The store for the implementation that is asked for; see `PipelineKVStore`."""
    if not by_pytorch(own):
        return PipelineKVStore(plan, own)
    from .pytorch import PyTorchPipelineKVStore

    return PyTorchPipelineKVStore(plan, own)


class PipelineKVStore(KVStore):
    """Each worker steps on its own stage's values: in one buffer, which the workers of the same stage keep alike by an
    all-reduce among them. The other stages' values are those of the last epoch's end.

    All messages of a step go over one connection between two workers: no two workers are both neighbours and of one stage.
    """

    name = "allreduce"

    def __init__(self, plan: Plan, own: Mapping[str, Any]) -> None:
        """`own` are the program's parameters by name. Waits for the other workers."""
        self._plan = plan
        self._method = Method.of(own)
        self.shared = not self._method.momentum
        self.phases = Phases(in_turns=True)  # every pass is waited for
        seat = replace(Seat.from_environment(), signed=bool(own.get("sign_messages")))
        self._links = Links(seat, 1, phases=self.phases)
        self.rank = self._links.rank
        self.workers = self._links.workers

    def follow(self, plan: Plan) -> None:
        """Take another plan, before the model is laid out."""
        self._plan = plan

    def buckets(self, sizes: Sequence[int]) -> list[int]:
        """A buffer for each stage."""
        return self._plan.counts

    def attach(self, model: Model, shares: Shares) -> None:
        """Make sure that all workers train one model in one way; a stage's values are those of its first worker."""
        self._model = model
        self._values = [model.memory(parameter.value) for parameter in model.parameters]
        layout = [
            (each.name, values.settled().size) for each, values in zip(model.parameters, self._values, strict=True)
        ]
        agree(self._links, repr((self._method, self._plan.micro_batches, self._plan.schedule, shares.sizes, layout)))
        stage = self._plan.stage(self.rank)
        own, gradients = self._values[stage], model.memory(model.parameters[stage].gradient)
        self._rule = Sgd(shares, layout[stage][1])
        self._rule.descent = Descent(self._method, self._rule.state)
        self._own = own, gradients
        peers = self._links.among(self._plan.peers(self.rank))
        self._part = Part(*self._own, self._rule, peers, 0, FLOAT32, layout[stage][1]) if peers.workers > 1 else None

    def walked(self, shares: Shares) -> Shares:
        """How replicas share it: every worker walks its replica's batches."""
        return self._plan.shares(shares)

    def passes(self, model: Model, shares: Shares) -> Passes:
        """Those of the own stage."""
        return StagePasses(self._plan, self._links, model, shares)

    def step(self, learning_rate: float) -> None:
        """One step on the own stage's values, once its gradients are added up; all of it at once."""
        step = Step(learning_rate, meets=True)
        if self._part:
            self._part.begin()
            self._part.depart(step)
            self._part.settle()
        else:  # a part would keep copies for others
            values, gradients = (memory.settled() for memory in self._own)
            self._rule.meet(learning_rate)
            self._rule.merge(values, gradients)
            self._rule.descent.met()
        self.phases.lap(UPDATE)

    def settle(self) -> None:
        """Tell the others of the own replica the own stage's values and statistics, and take theirs."""
        replica, own = self._plan.replica(self.rank), self._plan.stage(self.rank)
        links = {stage: self._links.to(0, rank) for stage, rank in enumerate(replica) if stage != own}
        statistics = [_Statistics(self._model, layers) for layers in self._plan.layers]
        for link in links.values():
            link.send(as_bytes(self._values[own].settled()))
            link.send(as_bytes(statistics[own].flat))
        self.phases.lap(PUSH)
        for stage, link in links.items():
            link.receive(as_bytes(self._values[stage].settled()))
            link.receive(as_bytes(statistics[stage].flat))
            statistics[stage].adopt()
        self.phases.lap(PULL)
        for link in links.values():
            link.flush()
        self.phases.lap(PUSH)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The velocity of the own values, or of the slice of them that this worker steps on."""
        return {**self._rule.state.save()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """The velocity."""
        self._rule.state.restore(state)

    def reduce(self, values: Vector) -> Vector:
        """Sum a short vector over all workers, in double precision."""
        return np.asarray(Exchange(self._links, 0, values.size, np.float64).sum(values.astype(np.float64)))

    def close(self) -> None:
        """Wait for all workers, and part."""
        self.reduce(np.zeros(1))
        self._links.close()


class _Statistics:
    """The statistics of some layers' normalisations, side by side."""

    def __init__(self, model: Model, layers: Sequence[PlacedLayer]) -> None:
        self._model = model
        self._arrays = [array for layer in layers for array in layer.statistics()]
        known = model.statistics() if self._arrays else {}
        self.flat = np.concatenate([np.empty(0, np.float32), *(known[array.name].ravel() for array in self._arrays)])

    def adopt(self) -> None:
        """Give the model what is in `flat` now."""
        limits = accumulate((array.size for array in self._arrays), initial=0)
        places = (slice(*pair) for pair in pairwise(limits))
        self._model.adopt({array.name: self.flat[place] for array, place in zip(self._arrays, places, strict=True)})
