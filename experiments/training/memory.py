"""What a worker needs of its node's memory, estimated before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contract import wire

from .datasets import Dataset
from .errors import ProgramError
from .kvstores.allreduce import dense
from .models import Architecture

if TYPE_CHECKING:
    from .options import Options

_FLOAT = 4
_MEGABYTE = 1_000_000

_VALIDATED_VALUES = 16 << 20
"""Values of all layers that validation computes at once, in float32: 64 MiB."""
_VALIDATED_IMAGES = 256

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


def need(architecture: Architecture, dataset: Dataset, engine: str, *, held: int = 0, workers: int = 1) -> Need:
    """What a worker needs for a model and a data set, where the store holds so many values of other workers."""
    share = SHARES.get(engine, SHARES["mxnet"])
    values = share.parameters * architecture.parameters() + held
    images = dataset.train.images.nbytes * (1 + 1 / workers) + dataset.validation.images.nbytes * (1 + 1 / workers)
    fixed = share.base + values * _FLOAT + images
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


def check(architecture: Architecture, dataset: Dataset, chosen: Options, environment: Mapping[str, str]) -> None:
    """Raise ProgramError where the environment says that the node has less memory than the worker is going to need."""
    memory = int(environment.get(wire.MEMORY_BYTES) or 0)
    if not memory:
        return
    workers = int(environment.get(wire.WORLD_SIZE) or 1)
    held = _held(architecture, chosen, workers) if workers > 1 and chosen.kvstore != "none" else 0
    found = need(architecture, dataset, chosen.engine, held=held, workers=workers)
    most = found.most(memory)
    images = -(-chosen.batch_size // chosen.accumulate)
    if images <= most:
        return
    where = environment.get(wire.NODE, "this node")
    remedy = "choose a smaller model, fewer images (--limit), or nodes with more memory"
    if most:
        pieces = next(count for count in range(1, chosen.batch_size + 1) if chosen.batch_size <= count * most)
        while chosen.batch_size % pieces:
            pieces += 1
        remedy = f"use --batch-size {most} or less, or compute the batch in pieces: --accumulate {pieces}"
    raise ProgramError(
        f"{chosen.model} with {images} images at once needs about {found.of(images) // _MEGABYTE} MB with"
        f" {chosen.engine}, and {where} has {memory // _MEGABYTE} MB",
        remedy,
    )


def _held(architecture: Architecture, chosen: Options, workers: int) -> int:
    """Values of other workers: their gradients, or factors of them in the place of dense layers' gradients."""
    images = chosen.batch_size * workers
    how = str(chosen.own.get("dense_gradients") or dense.SUM) if chosen.accumulate == 1 else dense.SUM
    plain = chosen.kvstore == "allreduce" and chosen.synchronise_every == 1 and chosen.rule in (None, "sgd")
    factored = dense.chosen(architecture.dense_layers(), workers, images, how) if plain else []
    rows = sum(images * (layer.inputs + layer.units) for layer in factored)
    return architecture.parameters() - sum(layer.size for layer in factored) + rows
