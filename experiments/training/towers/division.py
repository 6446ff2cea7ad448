"""Which worker computes which branches of a model. Pure. Raises ProgramError for what cannot be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise, takewhile

from ..errors import ProgramError
from ..kvstores.allreduce.shards import split
from ..models import Architecture
from ..models.architecture import PlacedLayer
from ..models.layers import Concatenation, Normalisation, Pooling, Shape
from ..pipeline.cut import evenly, layers_cost
from ..sharding import Groups, Shares, grouped
from ..split.parts import ELEMENTWISE, Columns, Plan, Rows, buffers, in_parts

CHANNELWISE = (*ELEMENTWISE, Pooling)
"""Layers that treat every channel by itself: a tower computes them for its own, so that fewer values travel."""


@dataclass(frozen=True)
class Tower(Columns):
    """What a worker computes of a concatenation: the branches of its place, for its group's images."""

    followed_by = CHANNELWISE

    branching: Branching
    place: int
    images: int

    @property
    def inputs(self) -> int:
        """The concatenation's."""
        return math.prod(self.branching.layer.before)

    @property
    def units(self) -> int:
        """The branches'."""
        return self.branching.computed[self.place].after[0] * self.branching.values

    @property
    def whole(self) -> int:
        """All branches'."""
        return math.prod(self.branching.after)

    def columns(self, workers: int) -> list[slice]:
        """One branch's behind the other's."""
        return self.branching.columns

    def held(self, workers: int) -> list[list[Rows]]:
        """The branches' arrays, whole."""
        return [
            [(array.name, slice(0, array.shape[0])) for array in layer.arrays()] for layer in self.branching.computed
        ]

    def computed(self, layer: PlacedLayer) -> PlacedLayer:
        """The same layer with these branches alone."""
        return self.branching.computed[self.place]


@dataclass(frozen=True)
class Branching:
    """A concatenation whose branches the workers of a group share: the layer that collates them."""

    number: int
    """Of the layer in the model."""
    layer: PlacedLayer
    limits: tuple[int, ...]
    """Each place's branches are from one limit to before the next."""
    after: Shape
    """What is made of all branches by the concatenation and the channelwise layers that follow it."""

    @cached_property
    def computed(self) -> list[PlacedLayer]:
        """The layer with each place's branches alone."""
        return [_with_branches(self.layer, slice(*pair)) for pair in pairwise(self.limits)]

    @property
    def values(self) -> int:
        """Of a channel of `after`."""
        return math.prod(self.after) // self.layer.after[0]

    @property
    def columns(self) -> list[slice]:
        """Each place's values of `after`."""
        limits = accumulate((layer.after[0] * self.values for layer in self.computed), initial=0)
        return [slice(*pair) for pair in pairwise(limits)]


@dataclass(frozen=True)
class Division:
    """How workers share the branches of a model: each group of consecutive ones has all of them, one place each some."""

    architecture: Architecture
    groups: Groups
    branchings: tuple[Branching, ...]

    @property
    def from_images(self) -> bool:
        """Whether the branches begin with the images, which each worker then has of all its group."""
        return self.branchings[0].number == 0

    def walked(self, shares: Shares) -> Shares:
        """How those share a batch whose batches a worker walks."""
        return self.groups.among(shares) if self.from_images else shares

    def cut(self, shares: Shares) -> Plan:
        """The model's parts as the worker of these shares computes them."""
        group = self.groups.within(shares)
        owned = {each.number: Tower(each, group.place, group.total) for each in self.branchings}
        plan = in_parts(self.architecture, owned, split)
        own = buffers([each.computed[group.place] for each in self.branchings], split)
        walked = slice(group.before, group.before + group.own) if self.from_images else None
        return replace(plan, summed=(*plan.summed, *own), walked=walked)

    def at(self, place: int) -> Plan:
        """The model's parts at a place, where each worker has one image."""
        return self.cut(Shares((1,) * self.groups.size, place))

    def described(self, rank: int) -> dict[str, object]:
        """A worker's place, numbered from 1, and the layers that it trains in its branches, for its `ready` event."""
        place = self.groups.place(rank)
        layers = [layer for each in self.branchings for layer in each.computed[place].every()]
        return {
            "number": place + 1,
            "of": self.groups.size,
            "group": self.groups.number(rank) + 1,
            "layers": [layer.name for layer in layers if layer.name],
        }


def divided(architecture: Architecture, towers: int, workers: int) -> Division | None:
    """The division of so many workers into groups of `towers`; None for one worker."""
    if workers == 1:
        return None
    found = {number: layer for number, layer in enumerate(architecture.placed) if _divisible(layer)}
    if not found:
        raise ProgramError(
            f"{architecture.name} has no branches beside each other (a concatenation, without normalisation in it)",
            "use --strategy data, or a model that has them",
        )
    most = max(len(layer.paths) for layer in found.values())
    too_many = f"{architecture.name} has {most} branches beside each other at most, which make no {towers} towers"
    groups = grouped(workers, towers, most, "towers", too_many)
    branchings = [
        _branching(architecture.placed, number, layer, towers)
        for number, layer in found.items()
        if len(layer.paths) >= towers
    ]
    return Division(architecture, groups, tuple(branchings))


def _divisible(layer: PlacedLayer) -> bool:
    """A normalisation of a branch would see the images of all the group, where it sees a worker's own otherwise."""
    return isinstance(layer.layer, Concatenation) and not any(
        isinstance(each.layer, Normalisation) for each in layer.every()
    )


def _branching(placed: Sequence[PlacedLayer], number: int, layer: PlacedLayer, towers: int) -> Branching:
    costs = [layers_cost(branch, first=number == 0) for branch in layer.paths]
    following = takewhile(lambda each: isinstance(each.layer, CHANNELWISE), placed[number + 1 :])
    *_, last = layer, *following
    return Branching(number, layer, tuple(accumulate(evenly(costs, towers), initial=0)), last.after)


def _with_branches(layer: PlacedLayer, some: slice) -> PlacedLayer:
    own = Concatenation(layer.layer.paths[some])
    return replace(layer, layer=own, paths=layer.paths[some], after=own.output(layer.before))
