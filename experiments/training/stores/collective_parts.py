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
from .collective_sums import sum_over


@dataclass(frozen=True)
class Step:
    """One step of training as all workers agree on it."""

    learning_rate: float
    averages: bool
    """Whether values are averaged in this step, where they are not in every one."""


class Part(ABC):
    """One buffer: values, gradients, and where its exchange stands."""

    def __init__(self, parameter: Parameter, links: Links, channel: int, shares: Shares) -> None:
        self._phases = links.phases
        self._shares = shares
        self._value = Memory(parameter.value)
        self._gradient = Memory(parameter.gradient)
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
        """Collect what the others have for this worker, and send them what comes of it."""
        self._departed = False
        self._expected = self._renew(step)

    def arrive(self) -> None:
        """Take what the others made of it: all values are then new."""
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
        """Whether something is to be expected of the others."""

    @abstractmethod
    def _take(self) -> None: ...


class Summed(Part):
    """Values go against the sum of all gradients: the same as one worker with all the batches."""

    def __init__(self, parameter: Parameter, links: Links, channel: int, shares: Shares) -> None:
        super().__init__(parameter, links, channel, shares)
        self._sum = sum_over(links, channel, parameter.value.size, self._descend)
        self._rate = np.float32(0)

    def _send(self, step: Step) -> None:
        self._sum.begin(self._computed())

    def _renew(self, step: Step) -> bool:
        self._rate = np.float32(step.learning_rate / self._shares.total)
        self._sum.proceed(self._value.settled())
        return True

    def _take(self) -> None:
        self._sum.finish(self._value.settled())

    def _descend(self, values: Floats, total: Floats) -> None:
        total *= self._rate
        values -= total


class Averaged(Part):
    """Every worker steps alone; now and then all take the mean of their values, each weighted by its worker's images.

    Other mathematics than `Summed`, except where the values are averaged in every step.
    """

    def __init__(self, parameter: Parameter, links: Links, channel: int, shares: Shares) -> None:
        super().__init__(parameter, links, channel, shares)
        self._sum = sum_over(links, channel, parameter.value.size, np.copyto)
        self._weight = np.float32(shares.own / shares.total)
        self._weighted: Floats = np.zeros(parameter.value.size, np.float32)

    def _send(self, step: Step) -> None:
        values, gradients = self._value.settled(), self._computed()
        gradients *= np.float32(step.learning_rate / self._shares.own)
        values -= gradients
        self._phases.lap(UPDATE)
        if step.averages:
            self._tell(values)

    def _renew(self, step: Step) -> bool:
        if step.averages:
            self._sum.proceed(self._value.settled())
        return step.averages

    def _take(self) -> None:
        self._sum.finish(self._value.settled())

    def average_now(self) -> None:
        """All of it at once, between steps."""
        values = self._value.settled()
        self._tell(values)
        self._sum.proceed(values)
        self._sum.finish(values)

    def _tell(self, values: Floats) -> None:
        np.multiply(values, self._weight, out=self._weighted)
        self._phases.lap(UPDATE)
        self._sum.begin(self._weighted)


class Halved(Part):
    """As `Summed`, but gradients and their sum travel as bfloat16: half the bytes, 8 bits of precision, float32's range.

    They are added up in float32. (IEEE's float16 would keep 11 bits, but NumPy converts it element by element: measured
    at 5 ms of processor time a step for LeNet-5, more than the bytes cost.)
    """

    def __init__(self, parameter: Parameter, links: Links, channel: int, shares: Shares) -> None:
        super().__init__(parameter, links, channel, shares)
        self._exchange = Exchange(links, channel, parameter.value.size, np.uint16)
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
