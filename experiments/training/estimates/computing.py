"""How long the slowest worker of a strategy computes in a step, as multiples of what a single worker's step takes. Pure.

A step's work is counted in multiply-adds, and in accesses to values that no cache holds, each of which takes as long as some
multiply-adds:

    for its images      what the layers multiply, and make (`pipeline.cut.layers_cost`)
    whatever these are  weights are read forwards and backwards in each pass, gradients written; in the step value and gradient
                        of all are read, the value written

So a large dense layer costs a small batch nearly the same as a single image; who has a part of its outputs, or of a model's
layers, saves that part of the accesses too. `harness benchmark` measures both kinds of time, by several batch sizes. The
constants say only how they are divided where one size was measured, and how they add up within a stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..models import Architecture, DenseLayer
from ..models.architecture import PlacedLayer
from ..pipeline import Plan
from ..pipeline.cut import layers_cost
from ..towers import costs
from ..towers.division import Division

ACCESS = 117.0
"""Multiply-adds that take as long as one access to a value in memory."""
VALUE = 1000.0
"""The same of a layer's output value, forwards and backwards, beside what makes it.

Both of independent virtual nodes in docs/results: the step on AlexNet's 57 million values takes 1.24 s; forward and backward of
the images take 75 ms (LeNet-5, 64 images), 3.1 s (ResNet-20, 64) and 0.8 s (AlexNet, 4). Their processor is quick at
multiply-adds: of a board both will be less."""
LAYER = 2.3e7
"""The same of what each layer takes in a pass whatever its size: LeNet-5's eleven 16 ms of a step of 81."""
PRODUCT = 10.5
"""Multiply-adds of a layer that take as long as one of a product of factors, by NumPy: 44 ns a weight for 64 images of
docs/results/models/alexnet_32, 15 and 8 for 16 and 8 of the larger ones."""
_PASS, _ADDED, _STEP = 3.0, 1.0, 3.0
"""Accesses to a value: in a pass, where gradients are added to those of the pass before, and in MXNet's own step."""
_OWN, _OTHERS = 9.0, 3.0
"""The same of a shard that its owner adds up: kept, copied and stepped on; and for each other worker added."""
_DESCENT = 1.1
"""The same of a step by NumPy on what was just computed."""
_MADE = 0.5
"""The same where a product of factors is written."""
_ENCODED, _DECODED = 13.0, 4.0
"""The same where a value is rounded to bfloat16, and made float32 again (`kvstores.allreduce.bfloat16`)."""


@dataclass(frozen=True)
class Multiples:
    """Of what a single worker's step takes: for its images, and whatever these are."""

    images: float = 1.0
    fixed: float = 1.0


@dataclass(frozen=True)
class Work:
    """What a worker computes alone, in a step with so many images, in so many passes."""

    architecture: Architecture
    images: int
    passes: int = 1

    @property
    def of_images(self) -> float:
        """What it takes for its images, in multiply-adds."""
        return self.images * image_cost(self.architecture.placed, first=True)

    @property
    def fixed(self) -> float:
        """What it takes whatever these are, in multiply-adds."""
        return passes_cost(self.architecture.placed, self.passes) + step_cost(self.architecture.parameters())

    @property
    def whole(self) -> float:
        """All of it, in multiply-adds."""
        return self.of_images + self.fixed

    def with_factors(self, layers: Sequence[DenseLayer], workers: int) -> Multiples:
        """Where some layers' gradients are made of all workers' factors, by products over all images, and not by each worker;
        all others are added up."""
        products = sum(layer.inputs * layer.units for layer in layers)
        factored = sum(layer.size for layer in layers)
        stepping = sum_cost(self.architecture.parameters() - factored, workers) + ACCESS * factored * (
            _MADE + _DESCENT - self.passes
        )
        more = self.images * products * (workers * PRODUCT - 1)
        return Multiples(1 + more / self.of_images, self._stepping(stepping).fixed)

    def with_halves(self) -> Multiples:
        """Where gradients and then values are rounded to bfloat16, and made float32 again, in passes over all of them."""
        values = self.architecture.parameters()
        return Multiples(fixed=1 + ACCESS * values * (_ENCODED + 2 * _DECODED) / self.fixed)

    def with_slices(self, layers: Sequence[DenseLayer], workers: int) -> Multiples:
        """Where each worker has a part of some layers' outputs, for all workers' images, and steps on it; all else is added
        up."""
        shared = sum(layer.size for layer in layers)
        own, common = shared / workers, self.architecture.parameters() - shared
        elsewhere = pass_cost(shared - own, self.passes)
        return self._stepping(ACCESS * _DESCENT * own + sum_cost(common, workers) - elsewhere)

    def in_stages(self, plan: Plan) -> Multiples:
        """The slowest stage is never idle once the first micro-batch is there and until the last one is through; before and
        after that the other stages compute one micro-batch each."""
        own = [sum(array.size for layer in layers for array in layer.arrays()) for layers in plan.layers]
        passes = [passes_cost(layers, plan.micro_batches) for layers in plan.layers]
        images = [
            self.images * plan.stages * image_cost(layers, first=layers is plan.layers[0]) for layers in plan.layers
        ]
        slowest = max(range(plan.stages), key=lambda stage: images[stage] + passes[stage])

        def through(stages: Sequence[float]) -> float:
            return stages[slowest] + (sum(stages) - stages[slowest]) / plan.micro_batches

        replicas = plan.replicas
        step = sum_cost(max(own), replicas) if replicas > 1 else ACCESS * _DESCENT * max(own)
        return Multiples(through(images) / self.of_images, (through(passes) + step) / self.fixed)

    def in_towers(self, division: Division) -> Multiples:
        """Every part of the model takes as long as at the place in the group where it takes longest."""
        groups, common = division.groups, costs.common_values(division)
        own = max(costs.own_values(division, place) for place in range(groups.size))
        elsewhere = pass_cost(self.architecture.parameters() - own - common, self.passes)
        steps = sum_cost(own, groups.count) + sum_cost(common, groups.count * groups.size)
        images = self.images * costs.image_cost(division, VALUE) / self.of_images
        return Multiples(images, self._stepping(steps - elsewhere).fixed)

    def share(self, layers: Sequence[PlacedLayer]) -> float:
        """The part of it that forward and backward of the first layers are."""
        return (self.images * image_cost(layers, first=True) + passes_cost(layers, self.passes)) / self.whole

    def _stepping(self, cost: float) -> Multiples:
        """Where a step on the values takes so much, in multiply-adds, less what is saved elsewhere."""
        return Multiples(fixed=1 + (cost - step_cost(self.architecture.parameters())) / self.fixed)


def image_cost(layers: Sequence[PlacedLayer], *, first: bool) -> float:
    """What an image takes consecutive layers, of which the first may be a model's, in multiply-adds."""
    return layers_cost(layers, first=first, value=VALUE)


def passes_cost(layers: Sequence[PlacedLayer], passes: int) -> float:
    """What so many passes through layers take whatever the images, in multiply-adds."""
    own = sum(array.size for layer in layers for array in layer.arrays())
    return pass_cost(own, passes) + LAYER * passes * sum(1 for layer in layers for _ in layer.every())


def pass_cost(values: float, passes: int) -> float:
    """What passes over weights and their gradients take beside the images, in multiply-adds."""
    return ACCESS * values * (passes * _PASS + (passes - 1) * _ADDED)


def sum_cost(values: float, workers: int) -> float:
    """What it takes a worker to add up its shard of values of all workers, and to step on it, in multiply-adds."""
    return ACCESS * values * (_OWN + _OTHERS * (workers - 1)) / workers


def step_cost(values: float) -> float:
    """What a single worker's step on values takes, in multiply-adds."""
    return ACCESS * values * _STEP
