"""A model on PyTorch: the same arrays, first values and arithmetic as on MXNet."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from ...datasets.dataset import Bytes
from ...kvstores.base import KVStore
from ...memory import validation_batch
from ...models import Weights
from ...models.architecture import PlacedLayer
from ...models.layers import Dropout
from ...reporting.meters import Vector
from ...reporting.phases import BACKWARD, FORWARD
from ..base import Array, Batch, Floats, Memory, Model, Parameter
from ..layout import Bucket, Layout
from .network import Network
from .parts import Parts
from .piece import Piece, clear, flat, judged
from .stage import TorchStage


class TorchMemory(Memory):
    """The memory of one tensor; of a parameter's gradient, which PyTorch makes anew in every step."""

    def __init__(self, find: Callable[[], torch.Tensor]) -> None:
        self._find = find

    def settled(self) -> Floats:
        """PyTorch computes when it is called: nothing is waited for."""
        return flat(self._find())


class TorchModel(Model):
    """Forward and backward of one architecture; labels are int64 (batch,)."""

    def __init__(self, layout: Layout) -> None:
        architecture, plan = layout.architecture, layout.plan
        self._held = {name for bucket in layout.buckets for name in bucket.members}
        factored = [layer.name for bucket in layout.buckets for layer in bucket.layers]
        slices = {own.layer.name: own.units for own in plan.slices.values()} if plan else {}
        self.network = Network(architecture, layout.dataset, self._held, factored, slices, layout.gather)
        self.call: nn.Module = self.network
        """What forward calls; a store may put what exchanges gradients around the network."""
        self.parameters = [self._allocate(bucket) for bucket in layout.buckets]
        self.adopt(layout.statistics)
        self._architecture = architecture
        self._names = list(architecture.shapes())
        self._accumulate = layout.accumulate
        self._validation_batch = validation_batch(architecture)
        self._optimizer = torch.optim.SGD(self.network.parameters(), lr=1.0)
        self._parts = Parts(self.network, plan, self.parameters) if plan else None
        self._whole: dict[str, torch.Tensor] = {}
        self._draws = any(isinstance(layer, Dropout) for layer in architecture.every_layer())

    def memory(self, array: Array) -> TorchMemory:
        """The memory of a parameter's value or gradient."""
        return TorchMemory(array if callable(array) else lambda: array)

    def batches(self, images: Bytes, labels: Bytes) -> Sequence[Batch]:
        """Views of the whole, a batch each."""
        return list(zip(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)), strict=True))

    def begin_epoch(self, seed: int) -> None:
        """Seed PyTorch's own generator, where there is dropout."""
        if self._draws:
            torch.manual_seed(seed)

    def train(self, batch: Batch, store: KVStore) -> Array:
        """Forward and backward of every piece of the batch; all parts are one, unless workers share layers."""
        if self._parts:
            return self._parts.train(batch, store)
        images, labels = batch
        phases = store.phases
        for number in range(len(self.parameters)):
            store.before_part(number)
        clear(self.parameters)
        phases.rest()
        outcome = torch.zeros(2)
        pieces = zip(images.chunk(self._accumulate), labels.chunk(self._accumulate), strict=True)
        for number, (some, theirs) in enumerate(pieces, 1):
            outcome += self._pass(some, theirs, store, last=number == self._accumulate)
        for number in reversed(range(len(self.parameters))):
            store.after_part(number)
        return outcome

    def _pass(self, images: torch.Tensor, labels: torch.Tensor, store: KVStore, *, last: bool) -> torch.Tensor:
        """Forward and backward of one piece; DistributedDataParallel exchanges in the last one alone."""
        waits = contextlib.nullcontext() if last or self.call is self.network else self.call.no_sync()
        with waits:
            loss, outcome = judged(self.call(images), labels)
            store.phases.compute(FORWARD)
            if last:
                for number in range(len(self.parameters)):
                    store.forward_done(number)
            loss.backward()
            store.phases.compute(BACKWARD)
        return outcome

    def read(self, outcome: Array) -> Vector:
        """It is there."""
        return np.asarray(outcome.numpy(), np.float64)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _scores(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = self.network.forward_by(self._whole, images) if self._whole else self.network(images)
        losses = functional.cross_entropy(logits, labels, reduction="none")
        return torch.stack((losses, (logits.argmax(1) == labels).to(torch.float32)))

    def scorer(self, images: Bytes, labels: Bytes) -> Callable[[], npt.NDArray[np.float32]]:
        """In batches, by the network itself: nothing is exchanged."""
        parts = torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64))
        batches = list(zip(*(tensor.split(self._validation_batch) for tensor in parts), strict=True))

        def score() -> npt.NDArray[np.float32]:
            self.network.eval()
            found = [self._scores(*batch).numpy() for batch in batches if len(batch[0])]
            self.network.train()
            return np.concatenate(found or [np.zeros((2, 0), np.float32)], axis=1)

        return score

    def inputs(self, layer: str) -> Floats:
        """The tensor's own memory."""
        return self.network.named[layer].inputs.contiguous().numpy()  # type: ignore[no-any-return]

    def errors(self, layer: str) -> Floats:
        """The tensor's own memory."""
        return self.network.named[layer].errors.grad.contiguous().numpy()  # type: ignore[no-any-return]

    def stage(self, layers: Sequence[PlacedLayer], slots: int, images: int) -> TorchStage:
        """Pieces of the network itself, a slot each."""
        first, last = (layers[at] is self._architecture.placed[at] for at in (0, -1))
        own = {array.name for layer in layers for array in layer.arrays()}
        part = self.network.part(layers, first=first)
        pieces = [Piece(part, last=last) for _ in range(slots)]
        parameters = [each for each in self.parameters if own.intersection(each.name.split("+"))]
        shapes = [(images, *shape) for shape in (layers[0].before, layers[-1].after)]
        return TorchStage(pieces, parameters, None if first else shapes[0], None if last else shapes[1])

    def descend(self, scale: float) -> None:
        """One step of PyTorch's own SGD."""
        for settings in self._optimizer.param_groups:
            settings["lr"] = scale
        self._optimizer.step()

    def wait(self) -> None:
        """Nothing is ever enqueued."""

    def weights(self) -> dict[str, Weights]:
        """The tensors' own memory."""
        found = self.network.arrays | self._whole
        return {name: found[name].detach().numpy() for name in self._names if name in self._whole or name in self._held}

    def values(self, name: str) -> Floats:
        """The array's own memory."""
        return flat(self.network.arrays[name])

    def hold(self, forms: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
        """Tensors beside the network's own."""
        self._whole = {name: torch.empty(form) for name, form in forms.items()}
        return {name: flat(tensor) for name, tensor in self._whole.items()}

    def statistics(self) -> dict[str, Weights]:
        """The statistics as they are now."""
        return {name: tensor.numpy().copy() for name, tensor in self.network.statistics.items()}

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def adopt(self, statistics: Mapping[str, Weights]) -> None:
        """Copy them."""
        for name, value in statistics.items():
            self.network.statistics[name].copy_(torch.from_numpy(value))

    def _allocate(self, bucket: Bucket) -> Parameter:
        """One buffer; where several arrays share it, each is a view of it, and so is its gradient."""
        value = torch.zeros(bucket.shape)
        if bucket.alone:
            parameter = self.network.arrays[bucket.name]
            parameter.data = value
            value[:] = torch.from_numpy(bucket.members[bucket.name])
            return Parameter(bucket.name, parameter, lambda: parameter.grad)
        gradient = torch.empty_like(value)
        for name, place, shape in bucket.places():
            self.network.arrays[name].data = value[place].view(shape)
            value[place] = torch.from_numpy(bucket.members[name].reshape(-1))
            self.network.arrays[name].grad = gradient[place].view(shape)
        return Parameter(bucket.name, value, gradient, bucket.factored)
