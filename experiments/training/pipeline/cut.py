"""Where a model is cut into stages: the slowest stage as quick as it can be, and then few values from stage to stage. Pure.

A cut lies before a layer that is trained; what has nothing to train (activations, pooling) stays with what precedes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from ..models import Architecture
from ..models.architecture import PlacedLayer
from ..models.weights import WEIGHT

VALUE_OPERATIONS = 30.0
"""Multiply-adds that take as long as one value of a layer's output takes forward and backward, beside those that make it."""
_FORWARD, _ERRORS, _GRADIENTS = 1, 1, 1
"""How often a layer's multiply-adds are done: for its output, for its input's gradient, for its weights' gradients."""
SLACK = 1.1
"""A slowest stage that takes so much longer than the quickest cut's is as good: costs are estimates."""


@dataclass(frozen=True)
class Block:
    """The least that can be a stage: a layer that is trained, and those without arrays that follow it."""

    arrays: int
    """Trained arrays."""
    cost: float
    """Of one image, forward and backward, in multiply-adds; or measured."""
    inputs: int
    """Values of one image that come to it."""


def block_layers(architecture: Architecture) -> list[tuple[PlacedLayer, ...]]:
    """The layers of every block, in forward order."""
    return architecture.parts([count for count in map(_arrays, architecture.placed) if count])


def blocks(architecture: Architecture, costs: Sequence[float] | None = None) -> list[Block]:
    """What a model is made of, in forward order; by these `costs` in any unit, or by multiply-adds."""
    made_of = block_layers(architecture)
    first = architecture.placed[0]
    costs = costs or [layers_cost(layers, first=layers[0] is first) for layers in made_of]
    return [
        Block(sum(map(_arrays, layers)), cost, math.prod(layers[0].before))
        for layers, cost in zip(made_of, costs, strict=True)
    ]


def _arrays(layer: PlacedLayer) -> int:
    return len(list(layer.arrays()))


def layer_cost(placed: PlacedLayer, *, first: bool, value: float = VALUE_OPERATIONS) -> float:
    """Of one image, forward and backward, in multiply-adds; nothing asks for the gradient of the `first` layer's input.

    `value` multiply-adds count for each value of its output.
    """
    passes = _FORWARD + _GRADIENTS + (0 if first else _ERRORS)
    arrays = placed.layer.arrays(placed.name, placed.before)
    products = passes * sum(array.size * math.prod(placed.after[1:]) for array in arrays if array.kind == WEIGHT)
    within = sum(layers_cost(path, first=first, value=value) for path in placed.paths)
    return value * math.prod(placed.after) + products + within


def layers_cost(layers: Sequence[PlacedLayer], *, first: bool, value: float = VALUE_OPERATIONS) -> float:
    """Of consecutive layers, of which the first may be a model's `first`."""
    return sum(layer_cost(layer, first=first and layer is layers[0], value=value) for layer in layers)


def cut(made_of: Sequence[Block], stages: int) -> list[int]:
    """How many blocks each of so many stages has; there must be at least as many blocks.

    Of all cuts whose slowest stage is at most `SLACK` times as slow as the best one's, that with the fewest values from stage
    to stage. By dynamic programming over (stages, blocks).
    """
    sums = [0.0, *accumulate(block.cost for block in made_of)]
    sent = [float(block.inputs) for block in made_of]
    best = _slowest(sums, stages)
    return _fewest(sums, sent, stages, SLACK * best)


def evenly(costs: Sequence[float], parts: int) -> list[int]:
    """How many of consecutive things each of so many parts has, so that the costliest part costs the least."""
    sums = [0.0, *accumulate(costs)]
    return _fewest(sums, [0.0] * len(costs), parts, _slowest(sums, parts))


def _slowest(sums: Sequence[float], stages: int) -> float:
    """The least cost that the slowest of so many stages can have."""
    found = list(sums)  # by blocks: of one stage with that many
    for _ in range(stages - 1):
        found = [
            min((max(found[start], sums[end] - sums[start]) for start in range(1, end)), default=math.inf)
            for end in range(len(sums))
        ]
    return found[-1]


def _fewest(sums: Sequence[float], sent: Sequence[float], stages: int, most: float) -> list[int]:
    """The cut with the fewest values sent, in which no stage costs more than `most`."""
    blocks_count = len(sent)
    found: list[tuple[float, tuple[int, ...]]] = [
        (0.0 if end and sums[end] <= most else math.inf, ()) for end in range(blocks_count + 1)
    ]
    for _ in range(stages - 1):
        found = [
            min(
                (
                    (found[start][0] + sent[start], (*found[start][1], start))
                    for start in range(1, end)
                    if sums[end] - sums[start] <= most
                ),
                default=(math.inf, ()),
            )
            for end in range(blocks_count + 1)
        ]
    limits = (0, *found[-1][1], blocks_count)
    return [end - start for start, end in pairwise(limits)]
