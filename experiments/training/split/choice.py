"""Which dense layers are worth splitting over the workers, and what that moves. Pure.

With n workers and B images of all of them, a worker sends for a split layer, on average, in values:

    its inputs, to all others                    (n - 1) / n * B * inputs       forwards
    the gradients of its inputs, to their owners (n - 1) / n * B * inputs       backwards
    its slice of outputs, to the images' owners  (n - 1) / n * B * units / n    forwards
    the errors of its outputs, to their owners   (n - 1) / n * B * units / n    backwards

The last two fall away where the next layer is split too and only elementwise layers are between: the slices are its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from ..errors import ProgramError
from ..kvstores.allreduce.dense import sum_bytes
from ..models import Architecture, DenseLayer
from .parts import sliceable

AUTO, ALL = "auto", "all"
"""Values of `--split-layers`."""

_BYTES = 4  # of a float32


def input_bytes(layer: DenseLayer, workers: int, images: int) -> float:
    """What a worker sends a step of a split layer's inputs and their gradients, on average."""
    return 2 * (workers - 1) / workers * images * layer.inputs * _BYTES


def output_bytes(layer: DenseLayer, workers: int, images: int) -> float:
    """What a worker sends a step of a split layer's outputs and their errors, on average, where they are put together."""
    return 2 * (workers - 1) / workers * images * layer.units / workers * _BYTES


def split_bytes(architecture: Architecture, names: Collection[str], workers: int, images: int) -> float:
    """What a worker sends a step for the layers of these names, on average, as splits over so many images of all workers."""
    layers = sliceable(architecture)
    following = [layer.name in names for layer, _ in layers[1:]] + [False]
    return sum(
        input_bytes(layer, workers, images) + (0.0 if direct and next_too else output_bytes(layer, workers, images))
        for (layer, direct), next_too in zip(layers, following, strict=True)
        if layer.name in names
    )


def chosen(architecture: Architecture, workers: int, images: int, how: str) -> list[DenseLayer]:
    """The layers that are split, in forward order: none for one worker.

    Raises ProgramError where none can be split, or is worth it, or one of `all` has fewer outputs than there are workers.
    """
    if workers == 1:
        return []
    layers = [layer for layer, _ in sliceable(architecture)]
    if not layers:
        raise ProgramError(f"{architecture.name} has no dense layer that can be split", "use --strategy data")
    cheapest = _cheapest(architecture, workers, images)
    narrow = min(layers, key=lambda layer: layer.units)
    if how == ALL and narrow.units < workers:
        nearest = f"--split-layers {AUTO}" if cheapest else "--strategy data"
        raise ProgramError(
            f"{narrow.name} of {architecture.name} has {narrow.units} outputs, fewer than {workers} workers",
            f"use {nearest}, or at most {narrow.units} nodes",
        )
    found = layers if how == ALL else cheapest
    if not found:
        raise ProgramError(
            f"no dense layer of {architecture.name} is worth splitting: its inputs and outputs of {images} images are more"
            f" bytes than its gradients on {workers} workers",
            f"use --strategy data, a smaller batch, or --split-layers {ALL}",
        )
    return found


def _cheapest(architecture: Architecture, workers: int, images: int) -> list[DenseLayer]:
    """The layers with which the fewest bytes are sent, from the last layer to the first: once with it whole, once split."""
    whole: tuple[float, list[DenseLayer]] = (0.0, [])
    split: tuple[float, list[DenseLayer]] = (math.inf, [])
    for layer, direct in reversed(sliceable(architecture)):
        put_together = output_bytes(layer, workers, images)
        behind = min(
            (whole[0] + put_together, whole[1]), (split[0] + (0.0 if direct else put_together), split[1]), key=_bytes
        )
        rest = min(whole, split, key=_bytes)
        whole = (rest[0] + sum_bytes(layer, workers), rest[1])
        cost = behind[0] + input_bytes(layer, workers, images) if layer.units >= workers else math.inf
        split = (cost, [layer, *behind[1]])
    return min(whole, split, key=_bytes)[1]


def _bytes(way: tuple[float, list[DenseLayer]]) -> float:
    return way[0]
