"""How one buffer of the model is kept in step: three ways to use an exchange."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from ..phases import BACKWARD, UPDATE
from ..sharding import Shares
from . import collective_bfloat16 as bfloat16
from .base import Parameter
from .collective_exchange import Exchange, added
from .collective_links import Links
from .collective_memory import Floats, Memory


@dataclass(frozen=True)
class Step:
    """One step of training as all workers agree on it."""

    learning_rate: float
    averages: bool
    """Whether values are averaged in this step, where they are not in every one."""


class Part(ABC):
    """One buffer: values, gradients, and where its exchange stands."""

    dtype: type[np.generic] = np.float32  # on the wire

    def __init__(self, parameter: Parameter, links: Links, channel: int, shares: Shares) -> None:
        self._phases = links.phases
        self._shares = shares
        self._value = Memory(parameter.value)
        self._gradient = Memory(parameter.gradient)
        self._exchange = Exchange(links, channel, parameter.value.size, self.dtype)
        self._departed = False
        self._expected = False
        values = self._value.settled()
        first = Exchange(links, channel, values.size, np.float32)
        values[:] = first.sum(
            values if links.rank == 0 else np.zeros_like(values)
        )  # worker 0's, since others add nothing

    def depart(self, step: Step) -> None:
        """Send what this worker has for the others; the part's backward is enqueued. Once a step."""
        if not self._departed:
            self._departed = True
            self._send(step)

    def update(self, step: Step) -> None:
        """Collect what the others have for the own shard, make it new, and send it."""
        self._departed = False
        self._expected = self._renew(step)

    def arrive(self) -> None:
        """Take the others' new shards."""
        if self._expected:
            self._expected = False
            self._take()

    def _computed(self) -> Floats:
        """The gradients, once backward has ended: with a threaded engine it may go on until here."""
        gradients = self._gradient.settled()
        self._phases.compute(BACKWARD)
        return gradients

    @abstractmethod
    def _send(self, step: Step) -> None: ...

    @abstractmethod
    def _renew(self, step: Step) -> bool:
        """Whether the others' shards are to be expected."""

    def _take(self) -> None:
        self._exchange.gather(self._value.settled())


class Summed(Part):
    """The owner of a shard applies the sum of all gradients to it: the same as one worker with all the batches."""

    def _send(self, step: Step) -> None:
        self._exchange.scatter(self._computed())

    def _renew(self, step: Step) -> bool:
        total = added(self._exchange.collect())
        total *= np.float32(step.learning_rate / self._shares.total)
        values = self._value.settled()
        values[self._exchange.own] -= total
        self._phases.lap(UPDATE)
        self._exchange.share(values)
        return True


class Averaged(Part):
    """Every worker steps alone; now and then all take the mean of their values, each weighted by its worker's images.

    Other mathematics than `Summed`, except where the values are averaged in every step.
    """

    def __init__(self, parameter: Parameter, links: Links, channel: int, shares: Shares) -> None:
        super().__init__(parameter, links, channel, shares)
        self._weights = np.array(shares.sizes, np.float32)[:, np.newaxis] / np.float32(shares.total)

    def _send(self, step: Step) -> None:
        values, gradients = self._value.settled(), self._computed()
        gradients *= np.float32(step.learning_rate / self._shares.own)
        values -= gradients
        self._phases.lap(UPDATE)
        if step.averages:
            self._exchange.scatter(values)

    def _renew(self, step: Step) -> bool:
        if step.averages:
            self.average()
        return step.averages

    def average(self) -> None:
        """Collect, and send the means of the own shard."""
        rows = self._exchange.collect()
        values = self._value.settled()
        rows *= self._weights
        values[self._exchange.own] = added(rows)
        self._phases.lap(UPDATE)
        self._exchange.share(values)

    def average_now(self) -> None:
        """All of it at once, between steps."""
        self._exchange.scatter(self._value.settled())
        self.average()
        self._take()


class Halved(Part):
    """As `Summed`, but gradients and their sum travel as bfloat16: half the bytes, 8 bits of precision, float32's range.

    They are added up in float32. (IEEE's float16 would keep 11 bits, but NumPy converts it element by element: measured
    at 5 ms of processor time a step for LeNet-5, more than the bytes cost.)
    """

    dtype = np.uint16

    def __init__(self, parameter: Parameter, links: Links, channel: int, shares: Shares) -> None:
        super().__init__(parameter, links, channel, shares)
        self._wire = np.zeros(parameter.value.size, np.uint16)
        self._rate = np.float32(0)

    def _send(self, step: Step) -> None:
        bfloat16.encode(self._computed(), self._wire)
        self._exchange.scatter(self._wire)

    def _renew(self, step: Step) -> bool:
        self._rate = np.float32(step.learning_rate / self._shares.total)
        total = added(bfloat16.decode(self._exchange.collect()))
        bfloat16.encode(total, self._wire[self._exchange.own])
        self._phases.lap(UPDATE)
        self._exchange.share(self._wire)
        return True

    def _take(self) -> None:
        self._exchange.gather(self._wire)
        change = bfloat16.decode(self._wire)
        change *= self._rate
        values = self._value.settled()
        values -= change
        self._phases.lap(UPDATE)
