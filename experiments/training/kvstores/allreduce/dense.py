"""Which dense layers' gradients are worth sending as their factors. Pure.

A worker's factors are the layer's inputs and its output's errors, (images, inputs) and (images, units); everybody sends his to
everybody and multiplies all of them. That is fewer bytes where the images of a step are few against the weights. (As the
sufficient factors of Xie and others, 2016, "Lighter-Communication Distributed Machine Learning via Sufficient Factor
Broadcasting"; here every worker has the exact sum in every step.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ...models import DenseLayer

AUTO, SUM, FACTORS = "auto", "sum", "factors"
"""Values of `--dense-gradients`."""

_BYTES = 4  # of a float32


def shard_bytes(values: int, workers: int, width: float = _BYTES) -> float:
    """What a worker sends a step of values of so many bytes each, added up and told in even shards."""
    return 2 * (workers - 1) / workers * values * width


def sum_bytes(layer: DenseLayer, workers: int) -> float:
    """What a worker sends a step where the gradient is added up in even shards."""
    return shard_bytes(layer.size, workers)


def factor_bytes(layer: DenseLayer, workers: int, images: int) -> float:
    """What a worker sends a step, on average, as factors of a step over so many images of all workers."""
    return (workers - 1) * images / workers * (layer.inputs + layer.units) * _BYTES


def chosen(layers: Sequence[DenseLayer], workers: int, images: int, how: str) -> list[DenseLayer]:
    """The layers whose gradients travel as factors."""
    if workers == 1 or how == SUM:
        return []
    return [each for each in layers if how == FACTORS or factor_bytes(each, workers, images) < sum_bytes(each, workers)]


def product_digest(layers: Sequence[DenseLayer], images: int) -> bytes:
    """SHA-256 of the layers and of what this processor makes of made-up factors of theirs.

    A sum of products is rounded as the library pleases that multiplies: only workers with the same digest have the same bits
    after a step.
    """
    digest = hashlib.sha256(repr((images, layers)).encode())
    random = np.random.RandomState(0)
    for layer in layers:
        inputs, errors = (
            (random.random_sample((images, size)) - 0.5).astype(np.float32) for size in (layer.inputs, layer.units)
        )
        digest.update(np.matmul(errors.T, inputs).data)
    return digest.digest()
