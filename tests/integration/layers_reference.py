"""Every kind of layer in float64 NumPy, forward only: what the engines' models are held against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from training.models import layers
from training.models.architecture import Architecture, PlacedLayer

Array = npt.NDArray[np.float64]
Arrays = dict[str, Array]
Statistics = dict[str, Array]

_ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


class Reference:
    """One model; `seen` is filled with every normalisation's means and variances of a batch while it trains."""

    def __init__(self, architecture: Architecture, *, training: bool) -> None:
        self._architecture = architecture
        self._training = training
        self.seen: Statistics = {}

    def losses(self, arrays: Arrays, pixels: Array, labels: npt.NDArray[np.uint8]) -> Array:
        """Cross entropy of every image; nothing is dropped."""
        scores = self._through(self._architecture.placed, arrays, pixels[:, None])
        scores = scores - scores.max(axis=1, keepdims=True)
        return np.asarray(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels])

    def _through(self, placed_layers: tuple[PlacedLayer, ...], arrays: Arrays, value: Array) -> Array:
        for placed in placed_layers:
            value = self._apply(placed, arrays, value)
        return value

    def _apply(self, placed: PlacedLayer, arrays: Arrays, value: Array) -> Array:
        own = [arrays[array.name] for array in placed.layer.arrays(placed.name, placed.before)]
        match placed.layer:
            case layers.Convolution(_, kernel, stride, padding) as layer:
                windows = np.split(_windows(value, kernel, stride, padding), layer.groups, axis=1)
                weights = np.split(own[0], layer.groups)
                bias = own[1] if len(own) > 1 else np.zeros(len(own[0]))
                parts = [
                    np.einsum("ncyxkl,fckl->nfyx", *each, optimize=True) for each in zip(windows, weights, strict=True)
                ]
                return np.asarray(np.concatenate(parts, axis=1) + bias[:, None, None])
            case layers.Dense():
                bias = own[1] if len(own) > 1 else np.zeros(len(own[0]))
                return np.asarray(value.reshape(len(value), -1) @ own[0].T + bias)
            case layers.Pooling("average", "all"):
                return np.asarray(value.mean(axis=(2, 3), keepdims=True))
            case layers.Pooling(kind, int(size), stride, padding, rounding):
                if rounding == "up":  # beside what is there, nothing is largest
                    room = placed.after[1] * (stride or size) + size - value.shape[2]
                    value = np.pad(value, ((0, 0), (0, 0), (0, room), (0, room)), constant_values=-np.inf)
                windows = _windows(value, size, stride or size, padding)[:, :, : placed.after[1], : placed.after[1]]
                return np.asarray(windows.mean(axis=(4, 5)) if kind == "average" else windows.max(axis=(4, 5)))
            case layers.Activation(kind):
                return np.asarray(_ACTIVATIONS[kind](value))
            case layers.Normalisation(epsilon):
                mean, variance = self._moments(placed, arrays, value)
                normal = (value - _by_channel(mean, value)) / np.sqrt(_by_channel(variance, value) + epsilon)
                scale, shift = own or (np.ones(len(mean)), np.zeros(len(mean)))
                return np.asarray(normal * _by_channel(scale, value) + _by_channel(shift, value))
            case layers.Flatten() | layers.Dropout():
                return value.reshape(len(value), -1) if isinstance(placed.layer, layers.Flatten) else value
            case _:
                return self._joined(placed, arrays, value)

    def _joined(self, placed: PlacedLayer, arrays: Arrays, value: Array) -> Array:
        made = [self._through(path, arrays, value) for path in placed.paths]
        match placed.layer:
            case layers.Residual():
                return np.asarray(made[0] + made[1])
            case layers.Concatenation():
                return np.concatenate(made, axis=1)
            case layers.Widening(channels):
                return np.pad(value, ((0, 0), (0, channels - value.shape[1]), (0, 0), (0, 0)))
        raise NotImplementedError(placed.layer)

    def _moments(self, placed: PlacedLayer, arrays: Arrays, value: Array) -> tuple[Array, Array]:
        names = [array.name for array in placed.layer.statistics(placed.name, placed.before)]
        if not self._training:
            return arrays[names[0]], arrays[names[1]]
        axes = (0, *range(2, value.ndim))
        moments = value.mean(axis=axes), value.var(axis=axes)
        self.seen |= dict(zip(names, moments, strict=True))
        return moments


def _windows(value: Array, size: int, stride: int, padding: int) -> Array:
    """(n, channels, y, x, size, size)."""
    padded = np.pad(value, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    return sliding_window_view(padded, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]


def _by_channel(values: Array, like: Array) -> Array:
    return values.reshape(1, -1, *(1,) * (like.ndim - 2))
