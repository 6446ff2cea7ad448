"""What the trainer and the stores ask of an engine: the library that computes forward and backward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..datasets.dataset import Bytes
from ..errors import ProgramError
from ..models import Weights
from ..models.architecture import PlacedLayer
from ..reporting.meters import Vector
from .layout import Factored, Layout

if TYPE_CHECKING:
    from ..kvstores.base import KVStore

Array = Any
"""mxnet.nd.NDArray or torch.Tensor: this module must load where neither is installed."""
Batch = tuple[Array, Array]
"""Images and labels of a step, as the engine has them."""
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Parameter:
    """One buffer of the model: float32 arrays of one shape on the CPU, the same objects for the whole run.

    `value` is read by forward and written by the store; `gradient` is overwritten by every backward with the SUM of the
    gradients over the worker's batch. The store may use `gradient` as scratch between `step` and the next forward.
    """

    name: str
    value: Array
    gradient: Array
    factored: Sequence[Factored] = ()
    """Layers at the buffer's end, in forward order: their `gradient` is left alone, and asked for as `Model.inputs` and
    `Model.errors`."""


class Memory(ABC):
    """The memory of one of the engine's float32 arrays."""

    @abstractmethod
    def settled(self) -> Floats:
        """The elements once the engine has finished with the array; no copy.

        Valid until the engine is next given something that writes the array: ask again after that.

        Returns:
            (size,) float32, no unit; what is written there is in the engine's array.
        """

    def written(self) -> Floats:
        """As `settled`, to be read only: the engine may go on reading the array.

        Returns:
            (size,) float32, no unit.
        """
        return self.settled()

    def idle(self) -> Floats:
        """As `settled`, where the caller knows that the engine has nothing to do with the array: nothing is asked.

        Returns:
            (size,) float32, no unit; what is written there is in the engine's array.
        """
        return self.settled()


class Stage(ABC):
    """Consecutive layers of a model by themselves, forward and backward, for micro-batches several of which are under way: each
    has a slot of its own from its forward to its backward."""

    @abstractmethod
    def begin(self) -> None:
        """A step begins: set the layers' gradients to zero. Every `backward` adds to them."""

    @abstractmethod
    def inputs(self, slot: int) -> Floats:
        """Where to put what comes from the stage before, until `forward`; empty for the model's first layers.

        Returns:
            (values,) float32, no unit, image after image.
        """

    @abstractmethod
    def errors(self, slot: int) -> Floats:
        """Where to put the gradient of the stage's output, until `backward`; empty for the model's last layers.

        Returns:
            (values,) float32, no unit, image after image.
        """

    @abstractmethod
    def forward(self, slot: int, images: Array, labels: Array) -> Floats:
        """Run the layers.

        Args:
            slot: a free one.
            images: (images, side, side) uint8, or with channels before the sides, in units of the data set's pixels; used by
                the first layers alone.
            labels: (images,) of the engine's dtype, numbers of classes, no unit; used by the last layers alone.

        Returns:
            (values,) float32, no unit, image after image: the output, until the slot's next `forward`; of the
                last layers (two,): the loss, a sum over images, and the count of right answers.
        """

    @abstractmethod
    def backward(self, slot: int) -> Floats:
        """Add to the layers' gradients; the slot is then free.

        Returns:
            (values,) float32, no unit, image after image: the gradient of the stage's input, until the slot's
                next `backward`; empty for the model's first layers.
        """


class Model(ABC):
    """One architecture with its values. Images are uint8 (batch, side, side) or (batch, channels, side, side)."""

    parameters: Sequence[Parameter]
    """The buffers, in forward order."""

    @abstractmethod
    def memory(self, array: Array) -> Memory:
        """The memory of a parameter's value or gradient.

        Args:
            array: `value` or `gradient` of one of `parameters`: (size,) or of any shape, dtype float32, no unit.
        """

    @abstractmethod
    def batches(self, images: Bytes, labels: Bytes) -> Sequence[Batch]:
        """An epoch's batches.

        Args:
            images: (steps, batch, side, side), or with channels after the batch, uint8, in units of the
                data set's pixels.
            labels: (steps, batch) uint8, numbers of classes, no unit.
        """

    @abstractmethod
    def begin_epoch(self, seed: int) -> None:
        """Seed what the model itself draws (dropout); where it draws nothing, do nothing."""

    @abstractmethod
    def train(self, batch: Batch, store: KVStore) -> Array:
        """Run, or enqueue, forward and backward.

        Args:
            batch: one of `batches`.
            store: is told of every part before its forward and after its backward.

        Returns:
            (two,) float32 that is, or will be, the batch's loss, a sum over its images, and its count of
                right answers.
        """

    @abstractmethod
    def read(self, outcome: Array) -> Vector:
        """An answer of `train`, once it is there.

        Args:
            outcome: (two,) float32, as `train` gives: loss and count of right answers.

        Returns:
            (two,) float64: loss and count of right answers.
        """

    @abstractmethod
    def scorer(self, images: Bytes, labels: Bytes) -> Callable[[], npt.NDArray[np.float32]]:
        """What scores these images by the values as they are when it is called.

        Args:
            images: (n, side, side) or (n, channels, side, side) uint8, in units of the data set's pixels.
            labels: (n,) uint8, numbers of classes, no unit.

        Returns:
            a function that gives (two, n) float32: each image's loss, and its count of right answers, 0 or 1.
        """

    def inputs(self, layer: str) -> Floats:
        """What came to a factored layer in the last forward; valid until the next.

        Args:
            layer: its name.

        Returns:
            (batch, inputs) float32, no unit.
        """
        raise NotImplementedError

    def errors(self, layer: str) -> Floats:
        """The gradient of a factored layer's output by the last backward; valid until the next.

        Args:
            layer: its name.

        Returns:
            (batch, units) float32, no unit.
        """
        raise NotImplementedError

    def stage(self, layers: Sequence[PlacedLayer], slots: int, images: int) -> Stage:
        """Some of the model's layers by themselves, on the model's own values and gradients.

        `images` are those of a micro-batch. Raises ProgramError where the engine has no stages.
        """
        raise ProgramError("this engine has no stages", "use --engine mxnet or torch, or --strategy data")

    @abstractmethod
    def descend(self, scale: float) -> None:
        """Run, or enqueue, value -= scale * gradient for all parameters."""

    @abstractmethod
    def wait(self) -> None:
        """Wait until nothing is enqueued."""

    @abstractmethod
    def weights(self) -> dict[str, Weights]:
        """The trained values, by name, in forward order, to be read at once: a large model has no memory for copies. Of those
        that it does not `hold` its slices, if any.

        Returns:
            as `Architecture.shapes` gives, float32, no unit; the model's own memory, where it has an array as it is.
        """

    def values(self, name: str) -> Floats:
        """The trained values of an array as they are now, or the model's slice of them; as `Memory.settled`.

        Args:
            name: its name.

        Returns:
            (size,) float32, no unit.
        """
        raise NotImplementedError

    def hold(self, forms: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
        """Make room for all of the arrays of which the model has slices; until the next call they are what `scorer` scores by
        and `weights` gives.

        Args:
            forms: shapes by name; none lets go of the arrays.

        Returns:
            (size,) float32, no unit, by name: the memory, to be filled.
        """
        raise NotImplementedError

    @abstractmethod
    def statistics(self) -> dict[str, Weights]:
        """The normalisations' statistics as they are now, by name.

        Returns:
            copies, (channels,) float32, in units of what is normalised.
        """

    def adopt(self, statistics: Mapping[str, Weights]) -> None:
        """Take some of the statistics from elsewhere.

        Args:
            statistics: (channels,) float32 by name, in units of what is normalised.
        """
        raise NotImplementedError


class Engine(ABC):
    """A library that computes."""

    factors: ClassVar[bool] = False
    """Whether its models can leave dense layers' gradients as their factors."""

    @abstractmethod
    def in_turns(self) -> bool:
        """Whether it computes when it is called, rather than on threads of its own, later."""

    @abstractmethod
    def build(self, layout: Layout) -> Model:
        """A model of this layout, with its first values."""
