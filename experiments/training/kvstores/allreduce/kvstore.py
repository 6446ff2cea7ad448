"""The allreduce store: a rule, a cadence, and sums over links to all other workers.

With the rule `sgd`, the same mathematics as `dist_sync`: every step uses the average over all workers' batches, and all
workers have the same bits afterwards. The owner of a shard applies the step to it and sends the new values, so each value is
updated once in the whole cluster; only a small buffer travels whole, and everybody applies the step to all of it (`sums`).

Where workers meet in every step, the model lies in two buffers (`shards.split`) with a set of connections each. The big
one's sums travel while backward still runs through the convolutions, its new values during the small one's exchange and the
next forward. The small one has nothing to hide behind and must not queue behind the big one's bytes: its connections have
priority. Where they meet now and then, it is one buffer: a whole model computes faster than its parts.

A dense layer's gradient travels as its factors where that is fewer bytes (`dense`, `factors`), on connections of their own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ...engines.base import Model, Parameter
from ...engines.normalisation import Gather
from ...errors import ProgramError
from ...models import DenseLayer
from ...reporting.meters import Vector
from ...reporting.phases import Phases
from ...rules import Rule, keeps_apart
from ...rules.common import Descent, State
from ...rules.sgd import Sgd
from ...sharding import Shares
from ...stepping import places_in
from ...trial import Seat
from ..base import KVStore
from ..registration import FLOAT32, Opening
from .dense import AUTO, FACTORS, SUM, chosen, product_digest
from .exchange import Exchange, agree, unlike
from .factors import Factors
from .links import Links
from .links.gathered import Gathered
from .part import Part, Step
from .setting import Setting
from .shards import split

_FACTORS = 2
"""The channel of factors, after one for each part."""
_CADENCE = "cadence"


class AllreduceKVStore(KVStore):
    """All workers are peers; `rank` is the launch order.

    A rule says what becomes of gradients and values where workers meet, a cadence when they do; between meetings everybody
    trains alone. `wire` bfloat16 halves the bytes and rounds the gradients. Only `sgd` over float32 is the mathematics of one
    worker.
    """

    name = "allreduce"
    first_channel = 0
    """Of the sums; those before it are a strategy's."""
    most_parts = 2
    """Buffers that may be added up, a channel each."""

    def __init__(self, opening: Opening) -> None:
        options = opening.options
        self._setting = setting = Setting.of(options)
        setting.check()
        self._cadence, self._rule, self._method = setting.cadence, setting.rule, setting.method
        self.by_parts = setting.cadence.always
        self._own = {name: options.own[name] for name in self._rule.options}
        self._apart = keeps_apart(self._rule, self._cadence)
        self.shared = not (self._apart or self._method.momentum)
        self._dense = self._dense_gradients(options.own.get("dense_gradients") or AUTO, opening)
        self._images = opening.batch_size
        self.phases = Phases(in_turns=opening.engine.in_turns())
        channels = self.first_channel + (self.most_parts if self.by_parts else 1) + (self._dense != SUM)
        seat = replace(Seat.from_environment(), signed=bool(options.own.get("sign_messages")))
        self._statistics = channels if setting.together else None
        self._links = Links(seat, channels + setting.together, phases=self.phases, apart=self._statistics)
        self.rank = self._links.rank
        self.workers = self._links.workers
        self._parts: list[Part] = []
        self._departed: Part | None = None
        self._factors: Factors | None = None
        self._gathered: Gathered | None = None

    def _dense_gradients(self, asked: str, opening: Opening) -> str:
        """As asked; the sum where factors are of no use. Raises ProgramError where they were asked for."""
        exact = self._setting.wire == FLOAT32 and self._cadence.always
        if exact and self._rule.offer is Sgd.offer and opening.engine.factors:
            return asked
        if asked == FACTORS:
            raise ProgramError(
                "factors of gradients are for every step's exact sum of gradients",
                "use --dense-gradients auto, or --rule sgd with --wire float32 and --synchronise-every 1",
            )
        return SUM

    def buckets(self, sizes: Sequence[int]) -> list[int]:
        """Two: what precedes the largest array, and the rest; one where they meet now and then."""
        return split(sizes) if self.by_parts else [len(sizes)]

    def factored(self, layers: Sequence[DenseLayer]) -> Sequence[DenseLayer]:
        """Those whose factors are fewer bytes, or all, as asked; none where workers would round their sums differently."""
        images = self._images * self.workers
        found = chosen(layers, self.workers, images, self._dense)
        if self._dense == SUM:
            return found
        differing = unlike(self._links, product_digest(found, images))
        if not differing:
            return found
        names = ", ".join(map(str, differing))
        others = f"workers {names} multiply other matrices than worker {self.rank}, or round differently"
        if self._dense == FACTORS:
            raise ProgramError(others, "use --dense-gradients auto or sum, or workers of one kind with one runtime")
        print(f"gradients of dense layers travel as sums: {others}", file=sys.stderr)
        return []

    def gather(self, shares: Shares) -> Gather | None:
        """Over a channel of its own, where statistics are synchronised."""
        if self._statistics is not None:
            self._gathered = Gathered(self._links, self._statistics, shares.sizes)
        return self._gathered

    def attach(self, model: Model, shares: Shares) -> None:
        """Make sure that all workers train one model in one way, and take worker 0's values."""
        buffers = self._summed(model)
        memories = [(model.memory(each.value), model.memory(each.gradient)) for each in buffers]
        layout = [
            (each.name, values.settled().size, sum(one.layer.size for one in each.factored))
            for each, (values, _) in zip(buffers, memories, strict=True)
        ]
        links = [self._adding(number) for number in range(len(buffers))]
        common = [each for each, own in zip(layout, links, strict=True) if own is self._links]
        agree(self._links, repr((self._setting, self._own, shares.sizes, common)))
        places = places_in(model)

        def rule(size: int, places: Sequence[slice] = ()) -> Rule:
            made = self._rule(shares, size, **self._own)
            made.descent = Descent(self._method, made.state, places)
            return made

        summed = {name: size - factored for name, size, factored in layout}
        self._parts = [
            Part(*memory, rule(size, places[name]), own, channel, self._setting.wire, size, apart=self._apart)
            for channel, (memory, (name, size), own) in enumerate(
                zip(memories, summed.items(), links, strict=True), self.first_channel
            )
        ]
        if any(parameter.factored for parameter in model.parameters):
            self._factors = Factors(self._links, _FACTORS, model, shares, rule)

    def _summed(self, model: Model) -> Sequence[Parameter]:
        """The buffers whose gradients are added up, or travel as factors."""
        return model.parameters

    def _adding(self, buffer: int) -> Links:
        """The workers that add up a buffer: all."""
        return self._links

    def announce(self, learning_rate: float) -> None:
        """Begin a step."""
        meets = self._cadence.advance()
        self._step = Step(learning_rate, meets, delay=0 if self._cadence.every_step else self._setting.delay)
        self._departed = None
        for part in self._parts:
            part.begin()

    def before_part(self, number: int) -> None:
        """Wait for the part's new values."""
        if self._factors:
            self._factors.arrive(number)
        self._parts[number].arrive()

    def forward_done(self, number: int) -> None:
        """Send inputs of factored layers, unless the engine may still be computing."""
        if self._factors and self.phases.in_turns:
            self._factors.offer_inputs(number)

    def after_part(self, number: int) -> None:
        """Send what the part offers to the owners.

        While an engine with threads computes this part's backward, the one after it is summed up.
        """
        if not self.phases.in_turns and self._departed:
            self._departed.update()
        if self._factors:
            self._factors.offer_all_inputs()
        self._departed = self._parts[number]
        self._departed.depart(self._step)
        if self._factors:
            self._factors.offer_errors(number)

    def step(self, learning_rate: float) -> None:
        """Update the own shards and send them; first the ones that take the wire longest.

        The next forward needs the small part first, but that one's messages overtake the big one's in the node.
        """
        for part in reversed(self._parts):
            part.depart(self._step)
        for part in reversed(self._parts):
            part.update()
        if self._factors:
            self._factors.update(learning_rate)
        if self._step.meets:
            self._cadence.met()

    def settle(self) -> None:
        """Wait for all new values; after steps alone, make them the same everywhere, if the cadence says so."""
        for number, part in enumerate(self._parts):
            if self._factors:
                self._factors.arrive(number)
            part.settle()
        if self._cadence.at_epochs:
            self._meet_now()

    def finish(self) -> None:
        """Meet after the last step, whatever the cadence says."""
        self._meet_now()
        for part in self._parts:
            part.centre.conclude()

    def _meet_now(self) -> None:
        if self._cadence.alone:
            for part in self._parts:
                part.meet_now(self._step.learning_rate)
        self._cadence.met()

    @contextmanager
    def shared_values(self) -> Iterator[None]:
        """As all workers had them after the last meeting."""
        for part in self._parts:
            part.centre.show()
        yield
        for part in self._parts:
            part.centre.hide()

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Every buffer's, and where the cadence's count stands."""
        if self.shared:
            return {}
        found = {f"{number}": part.centre.save() for number, part in enumerate(self._parts)}
        found |= {layer: state.save() for layer, state in self._layer_states().items()}
        arrays = {f"{where}/{name}": array for where, each in found.items() for name, array in each.items()}
        return {**arrays, _CADENCE: self._cadence.save()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Every buffer's, and the cadence's count."""
        if _CADENCE in state:
            self._cadence.restore(state[_CADENCE])
        for number, part in enumerate(self._parts):
            part.centre.restore(_below(f"{number}/", state))
        for layer, kept in self._layer_states().items():
            kept.restore(_below(f"{layer}/", state))

    def _layer_states(self) -> dict[str, State]:
        """Of layers that have their own way, by the layer's name."""
        return self._factors.states() if self._factors else {}

    def reduce(self, values: Vector) -> Vector:
        """Sum a short vector over all workers, in double precision."""
        return np.asarray(Exchange(self._links, 0, values.size, np.float64).sum(values.astype(np.float64)))

    def close(self) -> None:
        """Wait for all values and for all workers, and part."""
        self.settle()
        self.reduce(np.zeros(1))
        self._links.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error and self._gathered and self._gathered.fault:
            raise self._gathered.fault from error
        super().__exit__(kind, error, trace)


def _below(first: str, state: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The arrays whose names begin so, without that beginning."""
    return {name.removeprefix(first): array for name, array in state.items() if name.startswith(first)}
