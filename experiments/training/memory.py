"""What a worker needs of its node's memory, estimated before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from contract import wire

from .datasets import Dataset
from .errors import ProgramError
from .estimates.traffic import factored, split_layers
from .models import Architecture, DenseLayer

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
    share = SHARES.get(engine, SHARES["mxnet"])
    values = share.parameters * (architecture.parameters() - elsewhere) + held
    fixed = share.base + values * _FLOAT + image_bytes * (1 + 1 / workers)
    outputs = architecture.outputs()
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

    @property
    def images(self) -> int:
        """Computed at once, as it is asked for."""
        return -(-self.chosen.batch_size // self.chosen.accumulate)

    @property
    def nbytes(self) -> int:
        """Needed, as it is asked for."""
        return self._need(self.chosen).of(self.images)

    @property
    def words(self) -> str:
        """That in words."""
        return (
            f"{self.chosen.model} with {self.images} images at once needs about {self.nbytes // _MEGABYTE} MB with"
            f" {self.chosen.engine}"
        )

    def fits(self, memory: int, *, batch: int | None = None, pieces: int | None = None) -> bool:
        """Whether a node with so much memory is enough for a batch in so many pieces, or for what is asked for."""
        asked = replace(
            self.chosen, batch_size=batch or self.chosen.batch_size, accumulate=pieces or self.chosen.accumulate
        )
        return -(-asked.batch_size // asked.accumulate) <= self._need(asked).most(memory)

    def largest(self, memory: int) -> int:
        """The largest batch that fits in as many pieces as are asked for; 0 where not even one image a piece does."""
        pieces, low, high = self.chosen.accumulate, 0, 1
        while self.fits(memory, batch=high * pieces):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.fits(memory, batch=middle * pieces) else (low, middle)
        return low * pieces

    def pieces(self, memory: int) -> int | None:
        """The fewest equal pieces in which the batch fits; None where there is no such number."""
        batch = self.chosen.batch_size
        counts = (count for count in range(2, min(batch, _MOST_PIECES) + 1) if batch % count == 0)
        return next((count for count in counts if self.fits(memory, pieces=count)), None)

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
    ways += [f"compute the batch in pieces: --accumulate {pieces}"] if pieces else []
    raise ProgramError(
        f"{demand.words}, and {environment.get(wire.NODE, 'this node')} has {memory // _MEGABYTE} MB",
        ", or ".join(ways) or "choose a smaller model, fewer images (--limit), or nodes with more memory",
    )
