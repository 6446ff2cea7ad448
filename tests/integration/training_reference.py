"""Plain SGD on a LeNet in float64 NumPy, one process; it shares data, first weights and shuffle with the program, no code.

What the program gains by layout, caching and stores must not change what it computes: this is what it is held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from training.models import Architecture
from training.models.layers import Pooling

Array = npt.NDArray[np.float64]
Weights = dict[str, Array]


def pooling(architecture: Architecture) -> str:
    """The one kind of pooling that a LeNet has: `avg` or `max`."""
    (kind,) = {layer.kind for layer in architecture.layers if isinstance(layer, Pooling)}
    return {"average": "avg", "max": "max"}[kind]


def train(
    weights: Weights,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    *,
    deviation: float,
    side: int,
    pooling: str,
    batch: int,
    rates: list[float],
    epochs: int,
    seed: int,
) -> Weights:
    """Walk `epochs` shuffles in whole batches; `rates` is the learning rate of every step of the run."""
    margin = (side - images.shape[1]) // 2
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin))) / deviation
    weights = {name: value.astype(np.float64) for name, value in weights.items()}
    rate = iter(rates)
    for epoch in range(1, epochs + 1):
        for chosen in batches(len(images), batch, seed, epoch):
            gradients = backward(weights, padded[chosen], labels[chosen], pooling)
            step = next(rate) / batch
            weights = {name: value - step * gradients[name] for name, value in weights.items()}
    return weights


def batches(images: int, batch: int, seed: int, epoch: int) -> Iterator[npt.NDArray[np.int64]]:
    """Whole batches of the epoch's shuffle."""
    order = np.random.RandomState([seed, epoch]).permutation(images)
    for start in range(0, images - batch + 1, batch):
        yield order[start : start + batch]


def loss(weights: Weights, images: Array, labels: npt.NDArray[np.uint8], pooling: str) -> float:
    """Cross entropy summed over the batch."""
    scores, _ = forward(weights, images, pooling)
    return float(-np.log(softmax(scores)[np.arange(len(labels)), labels]).sum())


def backward(weights: Weights, images: Array, labels: npt.NDArray[np.uint8], pooling: str) -> Weights:
    """Gradients of `loss`."""
    scores, layers = forward(weights, images, pooling)
    gradient = softmax(scores)
    gradient[np.arange(len(labels)), labels] -= 1
    gradients: Weights = {}
    for layer in reversed(layers):
        gradient = layer(gradient, gradients)
    return gradients


Backward = Callable[[Array, Weights], Array]


def forward(weights: Weights, images: Array, pooling: str) -> tuple[Array, list[Backward]]:
    """Scores of ten classes, and what carries a gradient back through each layer."""
    value, layers = images[:, None], []
    names = [name.removesuffix("_weight") for name in weights if name.endswith("_weight")]
    for name in names:
        weight, bias = weights[f"{name}_weight"], weights[f"{name}_bias"]
        if weight.ndim == 4:
            value = _record(layers, _convolution(name, value, weight, bias))
            value = _record(layers, _tanh(value))
            value = _record(layers, _pool(value, pooling))
        else:
            value = _record(layers, _dense(name, value, weight, bias))
            if name != names[-1]:
                value = _record(layers, _tanh(value))
    return value, layers


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _record(layers: list[Backward], result: tuple[Array, Backward]) -> Array:
    layers.append(result[1])
    return result[0]


def _convolution(name: str, value: Array, weight: Array, bias: Array) -> tuple[Array, Backward]:
    windows = sliding_window_view(value, weight.shape[2:], axis=(2, 3))  # batch, channel, y, x, ky, kx

    def back(gradient: Array, gradients: Weights) -> Array:
        gradients[f"{name}_weight"] = np.einsum("nfyx,ncyxkl->fckl", gradient, windows, optimize=True)
        gradients[f"{name}_bias"] = gradient.sum(axis=(0, 2, 3))
        before = np.zeros_like(value)
        height, width = gradient.shape[2:]
        for y in range(weight.shape[2]):
            for x in range(weight.shape[3]):
                part = np.einsum("nfyx,fc->ncyx", gradient, weight[:, :, y, x], optimize=True)
                before[:, :, y : y + height, x : x + width] += part
        return before

    return np.einsum("ncyxkl,fckl->nfyx", windows, weight, optimize=True) + bias[:, None, None], back


def _tanh(value: Array) -> tuple[Array, Backward]:
    result = np.tanh(value)
    return result, lambda gradient, _: gradient * (1 - result**2)


def _pool(value: Array, pooling: str) -> tuple[Array, Backward]:
    count, channels, height, width = value.shape
    blocks = value.reshape(count, channels, height // 2, 2, width // 2, 2).transpose(0, 1, 2, 4, 3, 5)
    cells = blocks.reshape(*blocks.shape[:4], 4)
    # of equal maxima the first, as in MXNet
    share = np.full_like(cells, 0.25) if pooling == "avg" else np.eye(4)[cells.argmax(axis=4)]

    def back(gradient: Array, _: Weights) -> Array:
        shared = (share * gradient[..., None]).reshape(blocks.shape)
        return shared.transpose(0, 1, 2, 4, 3, 5).reshape(value.shape)

    return (share * cells).sum(axis=4), back


def _dense(name: str, value: Array, weight: Array, bias: Array) -> tuple[Array, Backward]:
    flat = value.reshape(len(value), -1)

    def back(gradient: Array, gradients: Weights) -> Array:
        gradients[f"{name}_weight"] = gradient.T @ flat
        gradients[f"{name}_bias"] = gradient.sum(axis=0)
        return (gradient @ weight).reshape(value.shape)

    return flat @ weight.T + bias, back
