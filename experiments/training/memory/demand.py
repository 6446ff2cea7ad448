"""Whether a node has the memory that a worker needs, and what would fit instead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from contract import wire

from .. import towers
from ..datasets import Dataset
from ..errors import ProgramError
from ..estimates.traffic import split_layers
from ..kvstores.allreduce.shards import split
from ..models import Architecture
from ..pipeline import Plan, planned
from ..sharding import Groups, Shares
from ..split import SPLIT
from ..split.parts import sliced
from ..towers import TOWERS
from ..towers.division import Division
from .need import Asked, Need
from .shares import MEGABYTE

if TYPE_CHECKING:
    from ..options import Options

_MOST_PIECES = 4096


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
    measured: Plan | None = None
    """Of a pipeline whose cut was measured."""

    @cached_property
    def plan(self) -> Plan | None:
        """Of a pipeline, where it is one."""
        return self.measured or planned(self.architecture, self.chosen, self.workers)

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
            f"{which} with {needs[most][1]} images at once needs about {self.nbytes // MEGABYTE} MB with"
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
        chosen = replace(self.chosen, batch_size=batch, accumulate=1 if self.plan else pieces)
        asked = Asked(self.architecture, self.image_bytes, chosen, self.workers)
        if self.plan:
            stages = replace(self.plan, micro_batches=pieces)
            return [(asked.at_stage(stages, at), piece * stages.under_way(at)) for at in range(stages.stages)]
        if division := self.division:
            groups, from_images = division.groups, division.from_images
            places = range(groups.size)
            return [(asked.at_place(division.at(at), groups, at, from_images=from_images), piece) for at in places]
        if layers := split_layers(self.architecture, chosen, self.workers):
            groups, last = Groups(self.workers, 1), self.workers - 1  # of uneven slices, the last is a large one
            plan = sliced(self.architecture, layers, Shares((1,) * self.workers, last), split)
            return [(asked.at_place(plan, groups, last, from_images=False), piece)]
        return [(asked.whole(), piece)]


def check(
    architecture: Architecture,
    dataset: Dataset,
    chosen: Options,
    environment: Mapping[str, str],
    measured: Plan | None = None,
) -> None:
    """Raise ProgramError where the environment says that the node has less memory than the worker is going to need.

    `measured` is a pipeline's plan, where its cut was measured.
    """
    memory = int(environment.get(wire.MEMORY_BYTES) or 0)
    demand = Demand(architecture, dataset.nbytes, chosen, int(environment.get(wire.WORLD_SIZE) or 1), measured)
    if not memory or demand.fits(memory):
        return
    largest, pieces = demand.largest(memory), demand.pieces(memory)
    ways = [f"use --batch-size {largest} or less"] if largest else []
    ways += [f"compute the batch in pieces: --{demand.cutting.replace('_', '-')} {pieces}"] if pieces else []
    raise ProgramError(
        f"{demand.words}, and {environment.get(wire.NODE, 'this node')} has {memory // MEGABYTE} MB",
        ", or ".join(ways) or "choose a smaller model, fewer images (--limit), or nodes with more memory",
    )
