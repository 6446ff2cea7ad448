"""What the trainer asks of a key-value store: the thing that makes many workers train one model.

The trainer, for every epoch and batch:

    store.announce(learning_rate)
    for every part of the model, forwards:
        store.before_part(number)
        forward                    # by MXNet: enqueued on its engine, which runs it in the background
        store.forward_done(number)
    for every part of the model, backwards:
        backward                   # enqueued
        store.after_part(number)   # with an engine that has threads, once all parts' are enqueued
    store.step(learning_rate)

The model is one part unless the store asks for more (`by_parts`).

`step` is called when backward has been *enqueued*, not when it has finished: gradients become ready one by one, the
last layer's first. A store may send each as soon as it is ready (`gradient.wait_to_read()` blocks until it is), and may
return before the new values have arrived as long as the next forward cannot read old ones: either because the pending
write is MXNet's own (the engine then orders reads after it) or because `before_part` waits for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy.typing as npt

from ..reporting.meters import Vector
from ..reporting.phases import Phases
from ..sharding import Shares

if TYPE_CHECKING:
    from ..engines.base import Floats, Model
    from ..engines.normalisation import Gather
    from ..models import Architecture, DenseLayer, Weights
    from ..pipeline.passes import Passes
    from ..split.parts import Plan

STALL_SECONDS = 300.0
"""How long a worker waits for another in which nothing moves. Where a launcher watches, it has a limit of its own."""


class KVStore(ABC):
    """Exchanges gradients between the workers of a trial and applies them: plain SGD on their average.

    Opening a store may block until the other workers are there. All workers call the same methods in the same order.
    """

    name: ClassVar[str]
    """Its value of `--kvstore`."""

    rank: int
    """This worker's number as the store counts, 0 to `workers` - 1."""

    workers: int

    by_parts: bool = False
    """Whether each of `buckets` is to be a part of the model of its own: forward and backward then run part by part, so
    that one part's exchange goes on under another's computation. Each bucket then holds whole layers."""

    phases: Phases
    """Where the training's time goes. The store laps what is its own, and the end of backward where it alone knows that;
    it tells nothing of what it leaves to MXNet's threads (`hidden`)."""

    implementation: str = ""
    """Whose code serves, where a store has several implementations."""
    replaceable: ClassVar[bool] = False
    """Whether a worker that died in mid-epoch can be followed by another, which begins that epoch again."""

    shared: bool = True
    """Whether worker 0's values at an epoch's end, and its `state`, stand for everybody's: all train one model, and no worker
    keeps anything of its own."""

    def buckets(self, sizes: Sequence[int]) -> list[int]:
        """Say how the model's arrays are to be laid out: how many consecutive ones share one flat buffer.

        `sizes` are the arrays' elements in forward order. [1, 1, ...] (the default) leaves each array its own buffer
        with its own shape; [len(sizes)] puts all into one 1-D buffer. The sum of the answer is len(sizes). Each buffer
        becomes one of the `parameters` of `attach`'s model. Arrays in one buffer become ready
        together: bigger buckets overlap less.
        """
        return [1] * len(sizes)

    def factored(self, layers: Sequence[DenseLayer]) -> Sequence[DenseLayer]:
        """Say which dense layers' gradients are to be left as their factors: none, unless the store can add those up.

        `layers` are all that the model has, in forward order. All workers ask at the same time.
        """
        return ()

    def planned(self, architecture: Architecture, arrays: Mapping[str, Weights], shares: Shares) -> Plan | None:
        """Say how the model is cut, where workers compute parts of layers for each other; None where each computes all of it.

        Where there is a plan, its parts are those of the model, and neither `buckets` nor `factored` is asked. All workers ask
        at the same time.

        Args:
            architecture: the model.
            arrays: its first values by name, as `Architecture.shapes` gives, float32, no unit.
            shares: how the workers share every batch.
        """
        return None

    def gather(self, shares: Shares) -> Gather | None:
        """What the model's normalisations ask, where they use all workers' images; `shares` is how these share a batch."""
        return None

    def walked(self, shares: Shares) -> Shares:
        """Say how those share a batch whose batches this worker walks: the workers, unless it begins with others' images too.

        `shares` is how the workers share it.
        """
        return shares

    def cross(self, number: int, made: Floats, into: Floats) -> None:
        """Hand over what was made before a part that begins with an exchange; on return there is what it takes.

        Args:
            number: the part's.
            made: (rows, columns) float32, no unit, as `Plan.forms` says.
            into: (rows, columns) float32, no unit, the same.
        """
        raise NotImplementedError

    def cross_back(self, number: int, gradient: Floats, into: Floats) -> None:
        """Hand over the gradient of what such a part took; on return there is that of what was made before it.

        Args:
            number: the part's.
            gradient: (rows, columns) float32, no unit, as `into` of `cross`.
            into: (rows, columns) float32, no unit, as `made` of `cross`.
        """
        raise NotImplementedError

    @abstractmethod
    def attach(self, model: Model, shares: Shares) -> None:
        """Take the model, its buffers in forward order, and how the workers share every batch.

        On return every worker has rank 0's values, and any worker may `step`.
        """

    def passes(self, model: Model, shares: Shares) -> Passes | None:
        """What computes a step's forward and backward, where a worker does not compute the whole model."""
        return None

    def announce(self, learning_rate: float) -> None:
        """Learn before forward what `step` will be told after backward."""
        return

    def before_part(self, number: int) -> None:
        """Wait for what `step` left under way for a part, as far as MXNet's engine does not order it itself."""
        return

    def forward_done(self, number: int) -> None:
        """Start what can start: the part's forward is enqueued."""
        return

    def after_part(self, number: int) -> None:
        """Start what can start: the part's backward is enqueued."""
        return

    def settle(self) -> None:
        """Wait for what `step` left under way for any part: an epoch is over, and values are to be read."""
        return

    def finish(self) -> None:
        """The run's last step is over, and settled: from now on a worker's values are those that all share."""
        return

    @contextmanager
    def shared_values(self) -> Iterator[None]:
        """While it lasts, the model has the values that all share, where a worker's own are others: they are to be read."""
        yield

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What the next epoch needs beside the shared values.

        Returns:
            copies by name, (size,) of any dtype, no unit.
        """
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from what `state` gave at an epoch's end; `attach` came before.

        Args:
            state: by name, (size,) of any dtype, no unit.
        """
        return

    @abstractmethod
    def step(self, learning_rate: float) -> None:
        """Apply value -= learning_rate * (sum of all workers' gradients) / (images of the global batch), on all alike.

        Gradients are sums over images, so every image weighs alike however the workers share them. An asynchronous store
        makes a step of its own of every worker's gradients, as they come: value -= learning_rate * gradient / (images of
        a worker on average).
        """

    @abstractmethod
    def reduce(self, values: Vector) -> Vector:
        """Sum a short vector over all workers. Not for the hot loop.

        Args:
            values: (n,) float64, in any units.

        Returns:
            (n,) float64, in the same units; counts stay exact up to 2**24.
        """

    @abstractmethod
    def close(self) -> None:
        """Wait for all workers, so that none takes the store away from the others, and leave."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:  # after a fault nobody is to be waited for
            self.close()
