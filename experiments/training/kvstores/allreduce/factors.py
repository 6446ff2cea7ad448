"""Dense layers' gradients as their factors: everybody's inputs and errors to everybody, then one product over all of them.

The product is over the workers' images in the order of their ranks, by the same library call on every worker, so all have the
same bits of the sum (`dense.product_digest` makes sure), and each applies it to all values: there is no second turn. Inputs
leave when a part's forward is done, errors when its backward is, and all arrive before the next forward of the first part
with such a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from ...engines.base import Floats, Memory, Model
from ...engines.layout import Factored
from ...reporting.phases import PULL, PUSH, UPDATE
from ...rules import Rule
from ...rules.common import State
from ...sharding import Shares
from .exchange import as_bytes
from .links import Link, Links
from .shards import peers


@dataclass(frozen=True)
class _Layer:
    """One layer: where its arrays are, and all workers' factors, (images, size) in the order of ranks."""

    part: int
    factored: Factored
    values: Memory
    gradients: Memory
    """Of its buffer: the product's place."""
    rule: Rule
    inputs: Floats
    errors: Floats

    @property
    def name(self) -> str:
        """The layer's."""
        return self.factored.layer.name

    def update(self) -> None:
        """Make the values new from all workers' factors."""
        place, layer = self.factored, self.factored.layer
        values, totals = self.values.settled(), self.gradients.settled()
        np.matmul(self.errors.T, self.inputs, out=totals[place.weight].reshape(layer.units, layer.inputs))
        if len(layer.arrays) > 1:
            np.sum(self.errors, axis=0, out=totals[place.bias])
        self.rule.merge(values[place.place], totals[place.place])


class _Peer:
    """One other worker: what goes there, and what is still to come from it in a step, in the order of its sending."""

    def __init__(self, link: Link, rows: slice, layers: Sequence[_Layer]) -> None:
        self.link = link
        messages = [*(each.inputs for each in layers), *(each.errors for each in reversed(layers))]
        self._step = [as_bytes(rows_of[rows].reshape(-1)) for rows_of in messages]
        self._left = list(self._step)

    def begin_step(self) -> None:
        """Expect everything again."""
        self._left = list(self._step)

    def receive(self, left: int) -> None:
        """Wait until no more than so many messages are left."""
        while len(self._left) > left:
            self.link.receive(self._left[0])
            del self._left[0]

    def receive_what_is_there(self) -> None:
        """Without waiting."""
        while self._left:
            self._left[0] = self.link.receive_what_is_there(self._left[0])
            if self._left[0].nbytes:
                return
            del self._left[0]


class Factors:
    """All factored layers of a model, over one channel: inputs in forward order, then errors in backward order."""

    def __init__(self, links: Links, channel: int, model: Model, shares: Shares, rule: Callable[[int], Rule]) -> None:
        """`rule` makes the rule of so many values."""
        self._phases = links.phases
        self._model = model
        limits = list(accumulate(shares.sizes, initial=0))
        rows = [slice(*pair) for pair in pairwise(limits)]
        self._own = rows[links.rank]
        self._layers = [
            _Layer(
                part,
                factored,
                model.memory(parameter.value),
                model.memory(parameter.gradient),
                rule(factored.layer.size),
                np.zeros((shares.total, factored.layer.inputs), np.float32),
                np.zeros((shares.total, factored.layer.units), np.float32),
            )
            for part, parameter in enumerate(model.parameters)
            for factored in parameter.factored
        ]
        self._peers = [
            _Peer(links.to(channel, rank), rows[rank], self._layers) for rank in peers(links.rank, links.workers)
        ]
        self._offered = 0  # parts whose inputs are on their way
        self._expected = False

    def states(self) -> dict[str, State]:
        """What each layer's rule keeps between steps, by the layer's name; all workers' are alike."""
        return {layer.name: layer.rule.state for layer in self._layers}

    def offer_inputs(self, part: int) -> None:
        """Send what came to the part's layers; its forward is enqueued."""
        self._offered = part + 1
        for layer in self._layers:
            if layer.part == part:
                self._send(layer.inputs, self._model.inputs(layer.name))
        self._make_room()

    def offer_all_inputs(self) -> None:
        """Send the inputs that were not sent yet; every part's forward is enqueued."""
        for number in range(self._offered, len(self._model.parameters)):
            self.offer_inputs(number)

    def offer_errors(self, part: int) -> None:
        """Send the errors of the part's layers, after the inputs of all; its backward is enqueued."""
        self.offer_all_inputs()
        for layer in reversed(self._layers):
            if layer.part == part:
                self._send(layer.errors, self._model.errors(layer.name))
        self._make_room()

    def update(self, learning_rate: float) -> None:
        """All has been sent; the answers make a step of this rate."""
        self._offered = 0
        self._expected = True
        for layer in self._layers:
            layer.rule.meet(learning_rate)
        self._make_room()

    def arrive(self, part: int) -> None:
        """Wait for everybody's factors, where the part has such layers, and make the values of all of them new."""
        if not self._expected or all(layer.part != part for layer in self._layers):
            return
        self._expected = False
        for left, layer in reversed(list(enumerate(self._layers))):
            for peer in self._peers:
                peer.receive(left)
            self._phases.lap(PULL)
            layer.update()
            self._phases.lap(UPDATE)
        for peer in self._peers:
            peer.begin_step()

    def _send(self, rows: Floats, mine: Floats) -> None:
        """Put the own rows where the product finds them, and send them from there."""
        for peer in self._peers:
            peer.link.flush()  # what is left of the last message is read from these rows
        rows[self._own] = mine
        message = as_bytes(rows[self._own].reshape(-1))
        for peer in self._peers:
            peer.link.send(message)
        self._phases.lap(PUSH)

    def _make_room(self) -> None:
        """Empty the kernel's buffers, or the others' bytes wait in their nodes until this one asks for them."""
        for peer in self._peers:
            peer.receive_what_is_there()
        self._phases.lap(PULL)
