"""A model on MXNet: executors for a training step and a cached graph for validation, no per-parameter Python in either."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mxnet as mx
import numpy as np
import numpy.typing as npt
from mxnet import autograd

from ...datasets.dataset import Bytes
from ...kvstores.base import KVStore
from ...memory import validation_batch
from ...models import Weights
from ...models.architecture import PlacedLayer
from ...models.layers import Dropout
from ...reporting.meters import Vector
from ...reporting.phases import BACKWARD, DATA, FORWARD
from ..base import Array, Batch, Floats, Model, Parameter
from ..layout import Bucket, Layout
from .graph import IMAGES, LABEL, Graph, Part
from .joint import Joint
from .memory import MxnetMemory
from .stage import MxnetStage
from .symbols import Translator, scored
from .update import Update


class MxnetModel(Model):
    """Forward and backward of one architecture; labels are float32 (batch,)."""

    def __init__(self, layout: Layout, *, in_turns: bool) -> None:
        architecture = layout.architecture
        self.parameters: list[Parameter] = []
        self._in_turns = in_turns
        self._values: dict[str, Array] = {}
        self._gradients: dict[str, Array] = {}
        self._statistics = {name: mx.nd.array(value) for name, value in layout.statistics.items()}
        for bucket in layout.buckets:
            self._allocate(bucket)
        self._order = list(architecture.shapes())
        self._accumulate = layout.accumulate
        self._validation_batch = validation_batch(architecture)
        factored = [layer for bucket in layout.buckets for layer in bucket.layers]
        for layer in factored:
            for name in layer.arrays:
                del self._gradients[name]  # so that backward does not compute them
        self._update = Update(self.parameters)
        self._draws = any(isinstance(layer, Dropout) for layer in architecture.every_layer())
        plan = layout.plan
        slices = {own.layer.name: own.units for own in plan.slices.values()} if plan else {}
        self._architecture = architecture
        names = [layer.name for layer in factored]
        self._translator = Translator(architecture, layout.dataset, names, slices, layout.gather)
        self._whole: dict[str, Array] = {}
        self._scores = self._scoring()
        self._validate = self._scorer()
        self._walked = plan.walked if plan else None
        self._joints = {number: Joint(plan, number, self.memory) for number in plan.crossings} if plan else {}
        self._parts = self._training(_parts_of(layout))
        self._memories: dict[int, MxnetMemory] = {}
        self._head = mx.nd.ones((2,))

    def memory(self, array: Array) -> MxnetMemory:
        """The memory of a parameter's value or gradient."""
        return MxnetMemory(array, waits=not self._in_turns)

    def batches(self, images: Bytes, labels: Bytes) -> Sequence[Batch]:
        """Views of the whole, a batch each."""
        return list(zip(mx.nd.from_numpy(images), mx.nd.from_numpy(labels.astype(np.float32)), strict=True))

    def begin_epoch(self, seed: int) -> None:
        """Seed MXNet's own generator, where there is dropout."""
        if self._draws:
            mx.random.seed(seed)

    def train(self, batch: Batch, store: KVStore) -> Array:
        """Enqueue forward and backward of every part, for every piece of the batch."""
        images, labels = batch
        if self._walked:
            labels = labels[self._walked]
        size = len(labels) // self._accumulate
        outcome: Array = None
        for piece in range(self._accumulate):
            place = slice(piece * size, (piece + 1) * size)
            whole = self._accumulate == 1
            found = self._forward(images if whole else images[place], labels if whole else labels[place], store, piece)
            outcome = found if outcome is None else outcome + found
            if not whole and not piece:
                for parameter in self.parameters:
                    parameter.gradient[:] = 0
            self._backward(store, piece)
        return outcome

    def _forward(self, images: Array, labels: Array, store: KVStore, piece: int) -> Array:
        phases = store.phases
        flow = images
        for number, part in enumerate(self._parts):
            if not piece:
                store.before_part(number)
            if number in self._joints:
                flow = self._joints[number].forth(flow, len(labels), store)
            part.take(flow, labels, first=not number)
            phases.compute(DATA)
            flow = part.forward()
            phases.compute(FORWARD)
            if piece == self._accumulate - 1:
                store.forward_done(number)
        outcome = flow.copy()  # the executor's own is overwritten by the next step
        if phases.sampled:
            outcome.wait_to_read()
        phases.compute(FORWARD)
        return outcome

    def _backward(self, store: KVStore, piece: int) -> None:
        head = self._head
        last = piece == self._accumulate - 1
        for number in reversed(range(len(self._parts))):
            head = self._parts[number].backward(head)
            store.phases.compute(BACKWARD)
            if number in self._joints:
                head = self._joints[number].back(head, store)
            if last and self._in_turns:
                store.after_part(number)
        # An engine with threads has all of it to do while the store sends what is ready.
        for number in reversed(range(len(self._parts))) if last and not self._in_turns else ():
            store.after_part(number)

    def read(self, outcome: Array) -> Vector:
        """Wait for it."""
        return outcome.asnumpy()  # type: ignore[no-any-return]

    def scorer(self, images: Bytes, labels: Bytes) -> Callable[[], npt.NDArray[np.float32]]:
        """Batches of one shape: the last is filled up with the first image."""
        count = len(images)
        if not count:
            return lambda: np.zeros((2, 0), np.float32)
        size = self._validation_batch
        chosen = np.append(np.arange(count), np.zeros(-count % size, np.int64))
        batched = _batched(images[chosen], size), _batched(labels[chosen].astype(np.float32), size)

        def score() -> npt.NDArray[np.float32]:
            with autograd.train_mode():  # in predict mode oneDNN would reorder the values in place, which views forbid
                outcomes = [self._validate(*batch) for batch in zip(*batched, strict=True)]
            return np.concatenate([outcome.asnumpy() for outcome in outcomes], axis=1)[:, :count]

        return score

    def inputs(self, layer: str) -> Floats:
        """The executor's own memory."""
        return self._factor(layer, [part.inputs for part in self._parts])

    def errors(self, layer: str) -> Floats:
        """The executor's own memory."""
        return self._factor(layer, [part.errors for part in self._parts])

    def _factor(self, layer: str, found: Sequence[Mapping[str, Array]]) -> Floats:
        array = next(arrays[layer] for arrays in found if layer in arrays)
        memory = self._memories.setdefault(id(array), self.memory(array))
        return memory.written().reshape(len(array), -1)

    def stage(self, layers: Sequence[PlacedLayer], slots: int, images: int) -> MxnetStage:
        """Executors of their own, a slot each; those of the whole model are bound when they are first used."""
        first, last = (layers[at] is self._architecture.placed[at] for at in (0, -1))
        symbol = self._symbol(layers, self._translator.apart(layers), last=last)
        own = {array.name for layer in layers for array in layer.arrays()}
        arrays = self._values, self._gradients, self._statistics
        parts = [Part(symbol, *arrays, {}, adds=True) for _ in range(slots)]
        gradients = [each.gradient for each in self.parameters if own.intersection(each.name.split("+"))]
        shapes = [(images, *shape) for shape in (layers[0].before, layers[-1].after)]
        return MxnetStage(parts, gradients, None if first else shapes[0], None if last else shapes[1], self.memory)

    def descend(self, scale: float) -> None:
        """Enqueue one operation for all parameters."""
        self._update(scale)

    def wait(self) -> None:
        """Wait for MXNet's threads."""
        mx.nd.waitall()

    def weights(self) -> dict[str, Weights]:
        """The arrays' own memory."""
        found = self._values | self._whole
        return {
            name: self.memory(found[name]).settled().reshape(found[name].shape) for name in self._order if name in found
        }

    def values(self, name: str) -> Floats:
        """The array's own memory."""
        return self.memory(self._values[name]).settled()

    def hold(self, forms: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
        """Arrays of MXNet's, and another graph: the old one would keep the old arrays."""
        self._whole = {name: mx.nd.empty(form) for name, form in forms.items()}
        self._validate = self._scorer()
        return {name: self.memory(array).settled() for name, array in self._whole.items()}

    def statistics(self) -> dict[str, Weights]:
        """The statistics as they are now."""
        return {name: value.asnumpy() for name, value in self._statistics.items()}

    def adopt(self, statistics: Mapping[str, Weights]) -> None:
        """Copy them."""
        for name, value in statistics.items():
            self._statistics[name][:] = value

    def _allocate(self, bucket: Bucket) -> None:
        """One buffer, and each member's own view of its values and gradients."""
        shape = bucket.shape
        parameter = Parameter(bucket.name, mx.nd.zeros(shape), mx.nd.empty(shape), bucket.factored)
        self.parameters.append(parameter)
        if bucket.alone:
            self._values[bucket.name], self._gradients[bucket.name] = parameter.value, parameter.gradient
        else:
            for name, place, own in bucket.places():
                self._values[name] = parameter.value[place].reshape(own)
                self._gradients[name] = parameter.gradient[place].reshape(own)
        for name, first in bucket.members.items():
            self._values[name][:] = first

    def _scoring(self) -> Array:
        logits = self._translator.through(self._architecture.placed, mx.sym.var(IMAGES), training=False)
        scores = scored(logits, mx.sym.var(LABEL))
        return mx.sym.stack(scores.image_losses, scores.correct)

    def _scorer(self) -> Graph:
        return Graph(self._scores, {**self._values, **self._whole, **self._statistics})

    def _symbol(
        self,
        layers: Sequence[PlacedLayer],
        translator: Translator,
        *,
        last: bool,
        from_flat: bool = False,
        flat: bool = False,
    ) -> Array:
        """Of layers in training; the model's last ones go on to the loss. What is exchanged is flat."""
        symbol = mx.sym.var(IMAGES)
        if from_flat and layers:
            symbol = mx.sym.reshape(symbol, shape=(-1, *layers[0].before))
        symbol = translator.through(layers, symbol, training=True)
        if flat:
            symbol = mx.sym.Flatten(symbol)
        if not last:
            return symbol
        scores = scored(symbol, mx.sym.var(LABEL))
        return mx.sym.concat(scores.loss, mx.sym.sum(scores.correct, keepdims=True), dim=0)

    def _training(self, layers_of: Sequence[Sequence[PlacedLayer]]) -> list[Part]:
        """A part for some layers each."""
        architecture, translator = self._architecture, self._translator.beginning_with(layers_of[0][0])
        parts: list[Part] = []
        for number, layers in enumerate(layers_of):
            translator.begin_part()
            symbol = self._symbol(
                layers,
                translator,
                last=number == len(layers_of) - 1,
                from_flat=number in self._joints,
                flat=number + 1 in self._joints,
            )
            units = {layer.name: layer.units for layer in architecture.dense_layers()}
            factored = {name: units[name] for name in translator.inputs}
            if factored:
                symbol = mx.sym.Group([symbol, *translator.inputs.values()])
            adds = self._accumulate > 1
            parts.append(Part(symbol, self._values, self._gradients, self._statistics, factored, adds=adds))
        return parts


def _parts_of(layout: Layout) -> Sequence[Sequence[PlacedLayer]]:
    """The layers of every part."""
    if layout.plan:
        return [part.layers for part in layout.plan.parts]
    counts = [len(bucket.members) for bucket in layout.buckets]
    return layout.architecture.parts(counts if layout.by_parts else [sum(counts)])


def _batched(array: npt.NDArray[Any], size: int) -> list[Array]:
    return list(mx.nd.from_numpy(array.reshape(-1, size, *array.shape[1:])))
