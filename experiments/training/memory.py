"""What a worker needs of its node's memory, estimated before anything starts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from contract import wire

from . import towers
from .datasets import Dataset
from .errors import ProgramError
from .estimates.traffic import factored, split_layers
from .models import Architecture, DenseLayer
from .models.architecture import outputs_of
from .pipeline import Plan, planned
from .split import SPLIT
from .towers import TOWERS, costs
from .towers.division import Division

if TYPE_CHECKING:
    from .options import Options

_FLOAT = 4
_MEGABYTE = 1_000_000
_MOST_PIECES = 4096

_VALIDATED_VALUES = 16 << 20
"""Values of all layers that validation computes at once, in float32: 64 MiB."""
_VALIDATED_IMAGES = 256

_EXCHANGED = 3
"""How often a split layer's inputs of all images lie in memory: themselves, their gradients, and the parts of the own ones'."""

_SYSTEM_BYTES = 64 * _MEGABYTE
"""What a node's system needs itself."""


@dataclass(frozen=True)
class Share:
    """What an engine takes, fitted to measured peaks of one process: see docs/explanation/training.md."""

    base: int
    """Bytes of the process with its libraries."""
    parameters: float
    """How often the trained values lie in memory: themselves, their gradients, copies."""
    outputs: float
    """How often all layers' outputs do."""
    largest: float
    """How often the largest layer's output does: gradients, which take each other's place, and scratch."""


SHARES = {
    "mxnet": Share(158 * _MEGABYTE, 2.6, 0.75, 4.0),
    "torch": Share(324 * _MEGABYTE, 2.6, 1.34, 3.6),
}


def validation_batch(architecture: Architecture) -> int:
    """Images that are validated at once: so many that their layers' outputs take 64 MiB at most, but one at least."""
    return max(1, min(_VALIDATED_IMAGES, _VALIDATED_VALUES // sum(architecture.outputs())))


@dataclass(frozen=True)
class Need:
    """What a worker needs, in bytes."""

    fixed: int
    """Whatever the batch."""
    an_image: int
    """For each image that is computed at once."""

    def of(self, images: int) -> int:
        """For so many images computed at once."""
        return self.fixed + self.an_image * images

    def most(self, memory: int) -> int:
        """How many images may be computed at once; 0 where not even one fits."""
        return max(0, (memory - _SYSTEM_BYTES - self.fixed) // self.an_image)


def need(
    architecture: Architecture, image_bytes: int, engine: str, *, held: int = 0, elsewhere: int = 0, workers: int = 1
) -> Need:
    """What a worker needs for a model and a data set whose images take so many bytes, where the store holds so many values of
    other workers, and so many of the trained values are not this worker's."""
    share = _share(engine)
    values = share.parameters * (architecture.parameters() - elsewhere) + held
    return _need(share, values, image_bytes * (1 + 1 / workers), architecture.outputs())


def stage_need(architecture: Architecture, image_bytes: float, engine: str, plan: Plan, stage: int) -> Need:
    """What a worker of a pipeline needs: gradients and outputs of its own layers alone, but the values of all, since it
    validates with the whole model."""
    share, placed = _share(engine), plan.layers[stage]
    own = sum(array.size for layer in placed for array in layer.arrays())
    values = architecture.parameters() + (share.parameters - 1) * own + (own if plan.replicas > 1 else 0)
    workers = plan.stages * plan.replicas
    return _need(share, values, image_bytes * (1 + plan.stages / workers), outputs_of(placed))


def tower_need(architecture: Architecture, image_bytes: float, engine: str, division: Division, place: int) -> Need:
    """What a worker with branches needs: values, gradients and sums of its own and of what all have, outputs of its branches
    and what comes to them for its group's images, and at an epoch's end the others' values."""
    share, size = _share(engine), division.groups.size
    workers = size * division.groups.count
    own = costs.own_values(division, place) + costs.common_values(division)
    values = share.parameters * own + architecture.parameters()
    walked = size if division.from_images else 1
    computed = _need(share, values, image_bytes * (1 + walked / workers), costs.outputs(division, place))
    gathered = _EXCHANGED * costs.gathered_values(division, place) * _FLOAT
    return Need(computed.fixed, computed.an_image + gathered)


def _share(engine: str) -> Share:
    return SHARES.get(engine, SHARES["mxnet"])


def _need(share: Share, values: float, image_bytes: float, outputs: Sequence[float]) -> Need:
    fixed = share.base + values * _FLOAT + image_bytes
    return Need(round(fixed), round((share.outputs * sum(outputs) + share.largest * max(outputs)) * _FLOAT))


def in_pieces(images: int, pieces: int) -> int:
    """Images of one piece. Raises ProgramError where the pieces are not equally large."""
    if images % pieces:
        raise ProgramError(
            f"a batch of {images} images cannot be cut into {pieces} equal pieces",
            "choose a number that divides every worker's batch",
        )
    return images // pieces


@dataclass(frozen=True)
class Demand:
    """A worker as far as its memory goes: what it trains, and with how many others. Methods raise ProgramError where the
    parameters contradict each other."""

    architecture: Architecture
    image_bytes: int
    """Of all images, as they are kept."""
    chosen: Options
    workers: int = 1

    @cached_property
    def plan(self) -> Plan | None:
        """Of a pipeline, where it is one."""
        return planned(self.architecture, self.chosen, self.workers)

    @cached_property
    def division(self) -> Division | None:
        """Of branches, where workers share these."""
        return towers.planned(self.architecture, self.chosen, self.workers)

    @property
    def cutting(self) -> str:
        """The parameter that says in how many pieces a batch is computed."""
        return "micro_batches" if self.plan else "accumulate"

    @property
    def _pieces(self) -> int:
        return self.plan.micro_batches if self.plan else self.chosen.accumulate

    @property
    def nbytes(self) -> int:
        """Needed, as it is asked for, by the worker that needs most."""
        return max(each.of(images) for each, images in self._needs(self.chosen.batch_size, self._pieces))

    @property
    def words(self) -> str:
        """That in words."""
        needs = self._needs(self.chosen.batch_size, self._pieces)
        most = max(range(len(needs)), key=lambda number: needs[number][0].of(needs[number][1]))
        part = "stage" if self.plan else "tower" if self.division else ""
        which = f"{part} {most + 1} of {self.chosen.model}" if part else self.chosen.model
        return (
            f"{which} with {needs[most][1]} images at once needs about {self.nbytes // _MEGABYTE} MB with"
            f" {self.chosen.engine}"
        )

    def fits(self, memory: int, *, batch: int | None = None, pieces: int | None = None) -> bool:
        """Whether a node with so much memory is enough for a batch in so many pieces, or for what is asked for."""
        needs = self._needs(batch or self.chosen.batch_size, pieces or self._pieces)
        return all(images <= each.most(memory) for each, images in needs)

    def largest(self, memory: int) -> int:
        """The largest batch that fits in as many pieces as are asked for; 0 where not even one image a piece does."""
        pieces, low, high = self._pieces // math.gcd(self._pieces, self._together), 0, 1
        while self.fits(memory, batch=high * pieces):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.fits(memory, batch=middle * pieces) else (low, middle)
        return low * pieces

    def pieces(self, memory: int) -> int | None:
        """The fewest equal pieces in which the batch fits; None where there is no such number, or it cannot be cut."""
        if self.chosen.own.get("strategy") in (SPLIT, TOWERS):
            return None
        batch = self.chosen.batch_size * self._together
        counts = (count for count in range(2, min(batch, _MOST_PIECES) + 1) if batch % count == 0)
        return next((count for count in counts if self.fits(memory, pieces=count)), None)

    @property
    def _together(self) -> int:
        """Workers that compute one batch."""
        return self.plan.stages if self.plan else 1

    def _needs(self, batch: int, pieces: int) -> list[tuple[Need, int]]:
        """What a worker of each stage or tower needs, and the images that it computes at once."""
        piece = -(-batch * self._together // pieces)
        if self.division:
            places = range(self.division.groups.size)
            asked = self.architecture, self.image_bytes, self.chosen.engine, self.division
            return [(tower_need(*asked, place), piece) for place in places]
        if not self.plan:
            return [(self._need(replace(self.chosen, batch_size=batch, accumulate=pieces)), piece)]
        plan = replace(self.plan, micro_batches=pieces)
        return [
            (
                stage_need(self.architecture, self.image_bytes, self.chosen.engine, plan, stage),
                piece * plan.under_way(stage),
            )
            for stage in range(plan.stages)
        ]

    def _need(self, chosen: Options) -> Need:
        if layers := split_layers(self.architecture, chosen, self.workers):
            held, elsewhere = self._of_slices(layers, chosen)
        else:
            held, elsewhere = 0 if self.workers == 1 or chosen.kvstore == "none" else self._held(chosen), 0
        return need(
            self.architecture, self.image_bytes, chosen.engine, held=held, elsewhere=elsewhere, workers=self.workers
        )

    def _of_slices(self, layers: Sequence[DenseLayer], chosen: Options) -> tuple[int, int]:
        """What is held: sums of the other layers, all of the split ones at an epoch's end, and their inputs and outputs of all
        images with their gradients; and the trained values that only other workers have."""
        values = sum(layer.size for layer in layers)
        own = sum(-(-layer.units // self.workers) * layer.size // layer.units for layer in layers)
        rows = sum(_EXCHANGED * chosen.batch_size * self.workers * layer.inputs for layer in layers)
        return self.architecture.parameters() + rows, values - own

    def _held(self, chosen: Options) -> int:
        """Values of other workers: their gradients, or factors of them in the place of dense layers' gradients."""
        layers = factored(self.architecture, chosen, self.workers)
        rows = sum(chosen.batch_size * self.workers * (layer.inputs + layer.units) for layer in layers)
        return self.architecture.parameters() - sum(layer.size for layer in layers) + rows


def check(architecture: Architecture, dataset: Dataset, chosen: Options, environment: Mapping[str, str]) -> None:
    """Raise ProgramError where the environment says that the node has less memory than the worker is going to need."""
    memory = int(environment.get(wire.MEMORY_BYTES) or 0)
    demand = Demand(architecture, dataset.nbytes, chosen, int(environment.get(wire.WORLD_SIZE) or 1))
    if not memory or demand.fits(memory):
        return
    largest, pieces = demand.largest(memory), demand.pieces(memory)
    ways = [f"use --batch-size {largest} or less"] if largest else []
    ways += [f"compute the batch in pieces: --{demand.cutting.replace('_', '-')} {pieces}"] if pieces else []
    raise ProgramError(
        f"{demand.words}, and {environment.get(wire.NODE, 'this node')} has {memory // _MEGABYTE} MB",
        ", or ".join(ways) or "choose a smaller model, fewer images (--limit), or nodes with more memory",
    )
