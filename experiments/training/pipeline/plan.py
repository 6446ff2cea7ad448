"""Who computes which layers: stages, replicas and micro-batches. Pure. Raises ProgramError for what cannot be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from ..errors import ProgramError
from ..models import Architecture
from ..models.architecture import PlacedLayer
from ..models.layers import Normalisation
from ..sharding import Shares
from .cut import blocks, cut, layer_cost
from .schedule import under_way

if TYPE_CHECKING:
    from ..options import Options

PIPELINE = "pipeline"
"""The value of `--strategy`."""

_DATA = "--strategy data"


@dataclass(frozen=True)
class Plan:
    """How the workers share layers and batches. Consecutive workers are the stages of one replica of the model."""

    layers: tuple[tuple[PlacedLayer, ...], ...]
    """Each stage's."""
    replicas: int
    micro_batches: int
    """Of a replica's batch."""
    schedule: str

    @property
    def stages(self) -> int:
        """How many there are."""
        return len(self.layers)

    @property
    def counts(self) -> list[int]:
        """Trained arrays of each stage."""
        return [sum(len(list(layer.arrays())) for layer in layers) for layers in self.layers]

    def stage(self, rank: int) -> int:
        """The stage that a worker computes."""
        return rank % self.stages

    def replica(self, rank: int) -> list[int]:
        """The workers of a worker's replica, by stage."""
        first = rank - self.stage(rank)
        return list(range(first, first + self.stages))

    def peers(self, rank: int) -> list[int]:
        """The workers that compute a worker's stage, by replica: their gradients are added up."""
        return list(range(self.stage(rank), self.stages * self.replicas, self.stages))

    def described(self, rank: int) -> dict[str, object]:
        """A worker's place, numbered from 1, and the layers that it trains, for its `ready` event."""
        stage = self.stage(rank)
        trained = [each.name for layer in self.layers[stage] for each in layer.every() if each.name]
        return {"number": stage + 1, "of": self.stages, "replica": rank // self.stages + 1, "layers": trained}

    def under_way(self, stage: int) -> int:
        """Micro-batches that a stage keeps at once."""
        return under_way(self.schedule, stage, self.stages, self.micro_batches)

    def shares(self, shares: Shares) -> Shares:
        """How the replicas share a batch that the workers share so: each has the images of all its workers.

        Raises ProgramError where a replica's images are not so many equal micro-batches, or such that cannot be normalised.
        """
        limits = (0, *accumulate(shares.sizes))
        sizes = tuple(end - first for first, end in pairwise(limits[:: self.stages]))
        for images in sizes:
            self.check(images)
        return Shares(sizes, shares.place // self.stages)

    def check(self, images: int) -> None:
        """Raise ProgramError where a replica's batch of so many images cannot be its micro-batches."""
        possible = [number for number in _divisors(images) if self._normalised(images // number) is None]
        nearest = min(possible, key=lambda number: abs(number - self.micro_batches), default=None)
        remedy = f"use --micro-batches {nearest}, or another batch size" if nearest else "use a larger batch"
        if images % self.micro_batches:
            raise ProgramError(
                f"a replica's batch of {images} images cannot be cut into {self.micro_batches} equal micro-batches",
                remedy,
            )
        if layer := self._normalised(images // self.micro_batches):
            raise ProgramError(f"{layer} cannot normalise one value, and a micro-batch has one image", remedy)

    def _normalised(self, images: int) -> str | None:
        """The name of a layer of which a micro-batch of so many images has one value a channel: its variance says nothing."""
        every = (each for layers in self.layers for layer in layers for each in layer.every())
        alone = (
            each.name for each in every if isinstance(each.layer, Normalisation) and math.prod(each.before[1:]) == 1
        )
        return next(alone, None) if images == 1 else None


def slowness(plan: Plan) -> float:
    """How many times as long as a single worker with its own batch a pipeline's slowest one computes or has nothing to do.

    The slowest stage is never idle once the first micro-batch is there and until the last one is through; before and after
    that the other stages compute one micro-batch each.
    """
    first = plan.layers[0][0]
    costs = [sum(layer_cost(layer, first=layer is first) for layer in layers) for layers in plan.layers]
    slowest, whole = max(costs), sum(costs)
    return plan.stages * (slowest + (whole - slowest) / plan.micro_batches) / whole


def planned(architecture: Architecture, chosen: Options, workers: int) -> Plan | None:
    """The plan for so many workers; None where the strategy is another."""
    if chosen.own.get("strategy") != PIPELINE:
        return None
    stages, micro_batches = int(chosen.own["stages"]), int(chosen.own["micro_batches"])
    _check_options(chosen)
    _check_stages(architecture, stages, workers)
    plan = Plan(_layers(architecture, stages), workers // stages, micro_batches, str(chosen.own["schedule"]))
    plan.check(chosen.batch_size * stages)
    return plan


def _layers(architecture: Architecture, stages: int) -> tuple[tuple[PlacedLayer, ...], ...]:
    made_of = blocks(architecture)
    limits = (0, *accumulate(cut(made_of, stages)))
    counts = [sum(block.arrays for block in made_of[first:end]) for first, end in pairwise(limits)]
    return tuple(architecture.parts(counts))


def _check_options(chosen: Options) -> None:
    """A pipeline has micro-batches of its own, and steps on a stage's buffer. (The program's description refuses the rest.)"""
    if chosen.accumulate > 1:
        raise ProgramError(
            "a pipeline cannot have --accumulate", f"use --micro-batches, which cuts the batch too, or {_DATA}"
        )
    if chosen.own.get("lars"):
        raise ProgramError("a pipeline cannot have --lars", f"leave --lars out, or use {_DATA}")


def _check_stages(architecture: Architecture, stages: int, workers: int) -> None:
    most = len(blocks(architecture))
    possible = [number for number in range(2, min(workers, most) + 1) if workers % number == 0]
    nearest = min(possible, key=lambda number: abs(number - stages), default=None)
    remedy = f"use --stages {nearest}, or {_DATA}" if nearest else f"use a multiple of 2 to {most} workers, or {_DATA}"
    if stages > most:
        raise ProgramError(
            f"{architecture.name} has {most} layers with something to train, which make no {stages} stages", remedy
        )
    if workers % stages:
        raise ProgramError(f"{workers} workers cannot be shared out evenly among {stages} stages", remedy)


def _divisors(number: int) -> Sequence[int]:
    return [each for each in range(1, number + 1) if number % each == 0]
