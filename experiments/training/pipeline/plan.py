"""Who computes which layers: stages, replicas and micro-batches. Pure. Raises ProgramError for what cannot be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from ..errors import ProgramError
from ..models import Architecture
from ..models.architecture import PlacedLayer
from ..models.layers import Normalisation
from ..sharding import Groups, Shares, grouped
from .cut import blocks, cut
from .schedule import ONE_FORWARD_ONE_BACKWARD, under_way

if TYPE_CHECKING:
    from ..options import Options

PIPELINE = "pipeline"
"""The value of `--strategy`."""

MEASURED = "measured"
"""The value of `--stage-times`."""

_DATA = "--strategy data"
_TORCH = "torch"


@dataclass(frozen=True)
class Plan:
    """How the workers share layers and batches. Consecutive workers are the stages of one replica of the model."""

    layers: tuple[tuple[PlacedLayer, ...], ...]
    """Each stage's."""
    groups: Groups
    """A replica each."""
    micro_batches: int
    """Of a replica's batch."""
    schedule: str

    @property
    def stages(self) -> int:
        """How many there are."""
        return len(self.layers)

    @property
    def replicas(self) -> int:
        """How many there are."""
        return self.groups.count

    @property
    def counts(self) -> list[int]:
        """Trained arrays of each stage."""
        return [sum(len(list(layer.arrays())) for layer in layers) for layers in self.layers]

    def stage(self, rank: int) -> int:
        """The stage that a worker computes."""
        return self.groups.place(rank)

    def replica(self, rank: int) -> list[int]:
        """The workers of a worker's replica, by stage."""
        return self.groups.members(rank)

    def peers(self, rank: int) -> list[int]:
        """The workers that compute a worker's stage, by replica: their gradients are added up."""
        return self.groups.peers(rank)

    def described(self, rank: int) -> dict[str, object]:
        """A worker's place, numbered from 1, and the layers that it trains, for its `ready` event."""
        stage = self.stage(rank)
        trained = [each.name for layer in self.layers[stage] for each in layer.every() if each.name]
        return {"number": stage + 1, "of": self.stages, "replica": self.groups.number(rank) + 1, "layers": trained}

    def under_way(self, stage: int) -> int:
        """Micro-batches that a stage keeps at once."""
        return under_way(self.schedule, stage, self.stages, self.micro_batches)

    def shares(self, shares: Shares) -> Shares:
        """How the replicas share a batch that the workers share so: each has the images of all its workers.

        Raises ProgramError where a replica's images are not so many equal micro-batches, or such that cannot be normalised.
        """
        found = self.groups.among(shares)
        for images in found.sizes:
            self.check(images)
        return found

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


def planned(
    architecture: Architecture, chosen: Options, workers: int, costs: Sequence[float] | None = None
) -> Plan | None:
    """The plan for so many workers; None where the strategy is another. `costs` are the blocks', where they were measured."""
    if chosen.own.get("strategy") != PIPELINE:
        return None
    stages, micro_batches = int(chosen.own["stages"]), int(chosen.own["micro_batches"])
    _check_options(chosen)
    if by_pytorch(chosen.own):
        _check_pytorch(chosen.own, stages, micro_batches)
    most = len(blocks(architecture))
    too_many = f"{architecture.name} has {most} layers with something to train, which make no {stages} stages"
    groups = grouped(workers, stages, most, "stages", too_many)
    plan = Plan(_layers(architecture, stages, costs), groups, micro_batches, str(chosen.own["schedule"]))
    plan.check(chosen.batch_size * stages)
    return plan


def _layers(
    architecture: Architecture, stages: int, costs: Sequence[float] | None
) -> tuple[tuple[PlacedLayer, ...], ...]:
    made_of = blocks(architecture, costs)
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


def by_pytorch(own: Mapping[str, Any]) -> bool:
    """Whether the micro-batches are PyTorch's own code's to move, by the program's parameters."""
    return own.get("pipeline_implementation") == _TORCH


def _check_pytorch(own: Mapping[str, Any], stages: int, micro_batches: int) -> None:
    """What only this project's own implementation does."""
    leave_out = "leave --pipeline-implementation out"
    if own.get("sign_messages"):
        raise ProgramError("PyTorch's pipelines sign no messages", f"leave --sign-messages out, or {leave_out}")
    if own["schedule"] == ONE_FORWARD_ONE_BACKWARD and micro_batches < stages:
        raise ProgramError(
            f"PyTorch's 1f1b needs as many micro-batches as stages, and {micro_batches} are fewer than {stages}",
            f"use --micro-batches {stages}, or --schedule gpipe, or {leave_out}",
        )


def _divisors(number: int) -> Sequence[int]:
    return [each for each in range(1, number + 1) if number % each == 0]
