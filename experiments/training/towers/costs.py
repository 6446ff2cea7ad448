"""What it costs to have branches on different workers: bytes, computing, memory. Pure.

Of an image's values, with g workers of b images each in a group, of which the own tower makes c of C, a worker sends

    before branches: what comes to them, to all others, and its gradient back       2 (g - 1) b inputs
    behind them: the own outputs to who has the images, errors of the others back   b ((g - 2) c + C)
    from branches to branches: the same for all images of the group                 g b ((g - 2) c + C)

and it gets as many. A branch's gradients are added up over the groups, all others over all workers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..kvstores.allreduce.dense import shard_bytes
from ..models.architecture import PlacedLayer
from ..pipeline.cut import layer_cost
from ..split.parts import Columns, Plan, Slice, SplitPart
from .division import Division

_BYTES = 4  # of a float32


def sent_bytes(division: Division, batch: int) -> list[float]:
    """What the worker of each place sends a step with `batch` images each."""
    groups, common = division.groups, common_values(division)
    found = []
    for place in range(groups.size):
        plan, own = division.at(place), own_values(division, place)
        crossed = sum(
            crossed_values(plan.parts[number - 1].slice, plan.parts[number].slice, groups.size)
            for number in plan.crossings
        )
        found.append(
            batch * crossed * _BYTES + shard_bytes(own, groups.count) + shard_bytes(common, groups.size * groups.count)
        )
    return found


def crossed_values(before: Columns | None, after: Columns | None, size: int) -> int:
    """What a worker sends between two parts, forwards and backwards, for an image of its own, in a group of so many."""
    if before:
        return ((size - 2) * before.units + before.whole) * (size if after else 1)
    return 2 * (size - 1) * after.inputs if after else 0


def own_values(division: Division, place: int) -> int:
    """Trained values of a place's branches."""
    return sum(array.size for each in division.branchings for array in each.computed[place].arrays())


def common_values(division: Division) -> int:
    """Trained values that all workers have."""
    own = sum(own_values(division, place) for place in range(division.groups.size))
    return division.architecture.parameters() - own


def told_bytes(division: Division) -> float:
    """What the worker with the most values of branches sends at an epoch's end, when all get all."""
    others = division.groups.size - 1
    return max(own_values(division, place) for place in range(division.groups.size)) * others * _BYTES


def image_cost(division: Division, value: float) -> float:
    """What a worker computes for each of its own images, or waits for the slowest of its group, in multiply-adds; so many
    count for a value of a layer's output."""
    size = division.groups.size
    places = [division.at(place).parts for place in range(size)]
    return sum(
        max(_cost(part, size, value, first=not number) for part in parts)
        for number, parts in enumerate(zip(*places, strict=True))
    )


def computed(plan: Plan, size: int) -> list[tuple[PlacedLayer, float]]:
    """A place's layers, each with how often it is computed for an image of the worker's own, in a group of so many."""
    return [each for part in plan.parts for each in _weighed(part, size)]


def handed_values(plan: Plan) -> int:
    """What is made before exchanges and taken behind them, for an image of the worker's own, of a plan for one of each.

    What is taken and the gradients of both have arrays of their own beside the layers' outputs. In the exchange there are
    copies: of each worker's columns, and of everybody's part of a sum.
    """
    forms = [plan.forms(number, 1) for number in plan.crossings]
    pairs = [(math.prod(made), math.prod(taken)) for made, taken in forms]
    return sum(made + 2 * taken for made, taken in pairs) + max((made + 2 * taken for made, taken in pairs), default=0)


def _cost(part: SplitPart, size: int, value: float, *, first: bool) -> float:
    return sum(
        times * layer_cost(layer, first=first and layer is part.layers[0], value=value)
        for layer, times in _weighed(part, size)
    )


def _weighed(part: SplitPart, size: int) -> Iterator[tuple[PlacedLayer, float]]:
    """A part's layers, each with how often it is computed for an image of the worker's own: of a branch for all the group's."""
    for number, layer in enumerate(part.layers):
        if part.slice is None:
            yield layer, 1.0
        else:  # a concatenation has but the own branches already
            cut = number or isinstance(part.slice, Slice)
            yield layer, size * (part.slice.units / part.slice.whole if cut else 1.0)
