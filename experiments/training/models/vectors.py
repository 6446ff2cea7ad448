"""Which channels an engine computes beside a model's own, to fill processors' vectors. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .architecture import PlacedLayer
from .layers import Activation, Convolution, Dropout, Pooling

_KEEP_CHANNELS_APART = (Activation, Dropout, Pooling)


def filled_up(filters: Sequence[int], vector: int) -> list[int]:
    """Filters that each convolution computes so that the next one finds at least a vector of channels; the last one's stay."""
    return [*(max(count, vector) for count in filters[:-1]), *filters[-1:]]


def computed_channels(layers: Sequence[PlacedLayer], vector: int) -> dict[str, tuple[int, int]]:
    """(inputs, filters) that the convolutions of a list compute, by name, where these are not their own numbers.

    Only convolutions that follow each other, with nothing between that mixes channels: what is computed beside the model's
    own then comes from weights of zero, and meets weights of zero.
    """
    computed: dict[str, tuple[int, int]] = {}
    for chain in _chains(layers):
        own = [chain[0].before[0], *(each.after[0] for each in chain)]
        filled = [own[0], *filled_up(own[1:], vector)]
        for each, (inputs, filters), real in zip(chain, pairwise(filled), pairwise(own), strict=True):
            if (inputs, filters) != real:
                computed[each.name] = (inputs, filters)
    return computed


def _chains(layers: Sequence[PlacedLayer]) -> list[list[PlacedLayer]]:
    """The runs of convolutions that take each other's output."""
    chains: list[list[PlacedLayer]] = []
    open_chain = False
    for each in layers:
        if isinstance(each.layer, Convolution) and each.layer.groups == 1:
            if open_chain:
                chains[-1].append(each)
            else:
                chains.append([each])
            open_chain = True
        elif not isinstance(each.layer, _KEEP_CHANNELS_APART):
            open_chain = False
    return chains
