"""The allreduce store with dense layers split over the workers: their slices stay where they are, the rest is summed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from ..engines.base import Floats, Memory, Model, Parameter
from ..errors import ProgramError
from ..kvstores.allreduce.dense import SUM
from ..kvstores.allreduce.exchange import unlike
from ..kvstores.allreduce.kvstore import AllreduceKVStore
from ..kvstores.allreduce.links import Links
from ..kvstores.allreduce.shards import split
from ..kvstores.registration import Opening
from ..models import Architecture, Weights
from ..reporting.phases import BACKWARD, PULL, UPDATE
from ..rules.common import Descent, State
from ..sharding import Shares
from .choice import AUTO, chosen
from .crossings import Crossing, Swap, crossing
from .parts import Plan, Rows, Slice, sliced

_CROSSINGS = 0
"""Their channel: whoever waits for them computes nothing meanwhile, so they overtake sums."""


@dataclass(frozen=True)
class _Owned:
    """A slice of this worker's."""

    slice: Slice
    values: Memory
    gradients: Memory
    state: State
    descent: Descent


class SplitKVStore(AllreduceKVStore):
    """All workers are peers. A worker steps on its slices by itself: nobody else has their gradients."""

    name = "allreduce"
    first_channel = 1

    def __init__(self, opening: Opening) -> None:
        super().__init__(opening)
        self._how = str(opening.options.own.get("split_layers") or AUTO)
        self._plan: Plan | None = None
        self._crossings: dict[int, Crossing] = {}
        self._owned: dict[int, _Owned] = {}
        self._whole = False

    def _dense_gradients(self, asked: str, opening: Opening) -> str:
        """Layers that are not split have sums."""
        return SUM

    def planned(self, architecture: Architecture, arrays: Mapping[str, Weights], shares: Shares) -> Plan | None:
        """Cut the model, and make sure that all workers cut the same values."""
        self._plan = self._cut(architecture, shares)
        if self._plan is None:
            return None
        self._forms = architecture.shapes()
        self._group, self._shares = self._exchanging(shares)
        held = self._plan.held(self._group.workers)
        digest = hashlib.sha256(repr(held).encode())
        for name in dict.fromkeys(name for one in held for name, _ in one):
            digest.update(arrays[name].data)
        if others := unlike(self._links, digest.digest()):
            raise ProgramError(
                f"workers {', '.join(map(str, others))} begin with other values than worker {self.rank}",
                "give all workers of a trial the same program, options and checkpoint",
            )
        return self._plan

    def _cut(self, architecture: Architecture, shares: Shares) -> Plan | None:
        """The model's parts; None where nothing is shared."""
        layers = chosen(architecture, self.workers, shares.total, self._how)
        return sliced(architecture, layers, shares, split) if layers else None

    def _exchanging(self, shares: Shares) -> tuple[Links, Shares]:
        """The workers that exchange at crossings, and how these share their images."""
        return self._links, shares

    def _summed(self, model: Model) -> Sequence[Parameter]:
        """All but the slices."""
        return model.parameters[: len(self._plan.summed)] if self._plan else super()._summed(model)

    def attach(self, model: Model, shares: Shares) -> None:
        """As without slices, which each worker keeps as they are."""
        super().attach(model, shares)
        if self._plan is None:
            return
        self._model, self._total = model, shares.total
        swap = Swap(self._group, _CROSSINGS)
        # As large as the model: over the crossings' channel nothing else would get through for as long as it takes.
        self._gathering = Swap(self._group, self.first_channel)
        owned = self._plan.owned
        for number in self._plan.crossings:
            self._crossings[number] = crossing(owned.get(number - 1), owned.get(number), swap, self._shares)
        buffers = model.parameters[len(self._plan.summed) :]
        for (number, own), buffer in zip(self._plan.slices.items(), buffers, strict=True):
            state, memories = State(), (model.memory(buffer.value), model.memory(buffer.gradient))
            self._owned[number] = _Owned(own, *memories, state, Descent(self._method, state))

    def announce(self, learning_rate: float) -> None:
        """Begin a step; whole arrays are out of date after it."""
        if self._whole:
            self._model.hold({})
            self._whole = False
        super().announce(learning_rate)

    def before_part(self, number: int) -> None:
        """Wait for the new values of sums whose first layers are the part's."""
        for buffer in self._plan.beginning(number) if self._plan else [number]:
            super().before_part(buffer)

    def cross(self, number: int, made: Floats, into: Floats) -> None:
        """Exchange, forwards."""
        self._crossings[number].forth(made, into)
        self.phases.lap(PULL)

    def cross_back(self, number: int, gradient: Floats, into: Floats) -> None:
        """Exchange, backwards."""
        self._crossings[number].back(gradient, into)
        self.phases.lap(PULL)

    def after_part(self, number: int) -> None:
        """Step on the part's slice, or send the sums that are complete."""
        for buffer in self._plan.beginning(number) if self._plan else [number]:
            super().after_part(buffer)
        if own := self._owned.get(number):
            gradients, values = own.gradients.settled(), own.values.settled()
            self.phases.compute(BACKWARD)
            own.descent(values, gradients, self._step.learning_rate, self._total)
            self.phases.lap(UPDATE)

    @contextmanager
    def shared_values(self) -> Iterator[None]:
        """While it lasts, the model has all of every array."""
        with super().shared_values():
            if self._plan and not self._whole:
                self._put_together(self._plan)
                self._whole = True
            yield

    def _put_together(self, plan: Plan) -> None:
        """To everybody what each has of the arrays that not all have."""
        workers, rank = self._group.workers, self._group.rank
        held = plan.held(workers)
        missing = {name for other, rows in enumerate(held) if other != rank for name, _ in rows}
        whole = self._model.hold({name: self._forms[name] for name in self._forms if name in missing})

        def place(rows: Rows | None) -> Floats:
            """Where in the whole arrays these rows are to be; nowhere for none, and those of an array that is whole here."""
            if rows is None or rows[0] not in whole:
                return np.empty(0, np.float32)
            return whole[rows[0]].reshape(self._forms[rows[0]][0], -1)[rows[1]].reshape(-1)

        for turn in zip_longest(*held):  # as many as the worker with the most has
            places = [place(rows) for rows in turn]
            mine = self._model.values(turn[rank][0]) if turn[rank] else place(None)
            if places[rank].size:
                places[rank][:] = mine
            self._gathering([mine] * workers, places)

    def _layer_states(self) -> dict[str, State]:
        """Of the own slices, too."""
        return {own.slice.layer.name: own.state for own in self._owned.values()}
