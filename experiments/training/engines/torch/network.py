"""A model's layers as PyTorch's modules."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from ...datasets.dataset import Dataset
from ...models import Architecture, layers
from ...models.architecture import PlacedLayer
from ..normalisation import Gather, SharedNormalisation
from .normalisation import SharedNorm

_ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "relu6": nn.ReLU6, "sigmoid": nn.Sigmoid}


class Network(nn.Module):  # type: ignore[misc]  # torch has types only where it is installed
    """From uint8 images to logits (batch, classes). What is missing of the architecture's side is zero padding.

    `arrays` are its parameters and `statistics` its buffers, by the architecture's names.
    """

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        held: Collection[str],
        factored: Collection[str] = (),
        slices: Mapping[str, int] = MappingProxyType({}),
        gather: Gather | None = None,
    ) -> None:
        """`held` are names of the arrays that have memory; the others are there for `forward_by` alone.

        `factored` are names of dense layers whose inputs and errors are wanted, instead of their gradients; `slices` the
        outputs of those that are split, by name: it has arrays for these alone. By `gather`, where it is given, it
        normalises as all workers together.
        """
        super().__init__()
        self._held = held
        self._factored = factored
        self._slices = slices
        self._gather = gather
        self.named: dict[str, nn.Module] = {}
        self.arrays: dict[str, nn.Parameter] = {}
        self.statistics: dict[str, torch.Tensor] = {}
        self._margin = (architecture.side - dataset.side) // 2
        self._first = architecture.placed[0]
        pads_itself = isinstance(self._first.layer, layers.Convolution)
        self._pixels = _Pixels(dataset, 0 if pads_itself else self._margin)
        self._made: dict[PlacedLayer, list[nn.Module]] = {}
        self.layers = self.part(architecture.placed, first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.layers(images)

    def forward_by(self, arrays: Mapping[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
        """Logits by these arrays in the place of its own.

        Args:
            arrays: by the architecture's names, float32, no unit.
            images: (batch, side, side), or with channels before the sides, uint8, in units of the data set's pixels.
        """
        paths = {id(parameter): path for path, parameter in self.named_parameters()}
        given = {paths[id(self.arrays[name])]: value for name, value in arrays.items()}
        return functional_call(self, given, (images,))

    def part(self, placed_layers: Sequence[PlacedLayer], *, first: bool) -> nn.Sequential:
        """Some of the model's layers by themselves, or of some branches of theirs: the same modules.

        The `first` ones take images. No layers make a module that changes nothing.
        """
        made = chain.from_iterable(map(self._modules_of, placed_layers))
        return nn.Sequential(*([self._pixels] if first else []), *made)

    def _sequence(self, placed_layers: Sequence[PlacedLayer]) -> nn.Sequential:
        return self.part(placed_layers, first=False)

    def _modules_of(self, placed: PlacedLayer) -> list[nn.Module]:
        """The layer's module, behind one that it needs before it; always the same ones."""
        if placed not in self._made:
            flattens = isinstance(placed.layer, layers.Dense) and len(placed.before) > 1
            self._made[placed] = [*([nn.Flatten()] if flattens else []), self._placed(placed)]
        return self._made[placed]

    def _placed(self, placed: PlacedLayer) -> nn.Module:
        """The layer's module, in memory as far as this worker computes it."""
        own = placed.layer.arrays(placed.name, placed.before)
        held = all(array.name in self._held for array in own)
        with contextlib.nullcontext() if held else torch.device("meta"):
            return self._module(placed)

    def _named(self, module: nn.Module, placed: PlacedLayer) -> nn.Module:
        """The module, its arrays entered under their names; a module's own order is weight, bias."""
        self.named[placed.name] = module
        for array, parameter in zip(placed.arrays(), module.parameters(), strict=True):
            self.arrays[array.name] = parameter
        for array, name in zip(placed.statistics(), ("running_mean", "running_var"), strict=False):
            self.statistics[array.name] = getattr(module, name)
        return module

    def _module(self, placed: PlacedLayer) -> nn.Module:
        before = placed.before
        match placed.layer:
            case layers.Convolution(filters, kernel, stride, padding, bias) as layer:
                padding += self._margin if placed is self._first else 0
                sizes = (before[0], int(filters), kernel, stride, padding)
                return self._named(nn.Conv2d(*sizes, groups=layer.groups, bias=bias), placed)
            case layers.Pooling() as layer:
                return _pooling(layer)
            case layers.Dense(units, bias):
                kind = Linear if placed.name in self._factored else nn.Linear
                computed = self._slices.get(placed.name, units)
                return self._named(kind(math.prod(before), computed, bias=bias), placed)
            case layers.Activation(kind):
                return _ACTIVATIONS[kind]()
            case layers.Flatten():
                return nn.Flatten()
            case layers.Normalisation() as layer:
                return self._normalisation(layer, placed)
            case layers.Dropout(rate):
                return nn.Dropout(rate)
            case _:
                return self._joined(placed)

    def _normalisation(self, layer: layers.Normalisation, placed: PlacedLayer) -> nn.Module:
        kind = nn.BatchNorm2d if len(placed.before) == 3 else nn.BatchNorm1d
        # PyTorch's momentum is what is taken of the new statistics
        norm = kind(placed.before[0], eps=layer.epsilon, momentum=1 - layer.momentum, affine=layer.affine)
        self._named(norm, placed)
        if not self._gather:
            return norm
        return SharedNorm(norm, SharedNormalisation(layer, placed.before, self._gather, unbiased=True))

    def _joined(self, placed: PlacedLayer) -> nn.Module:
        """Layers that put something beside or onto something."""
        match placed.layer:
            case layers.Widening(channels):
                return nn.ConstantPad3d((0, 0, 0, 0, 0, channels - placed.before[0]), 0.0)
            case layers.Residual():
                return _Sum(map(self._sequence, placed.paths))
            case layers.Concatenation():
                return _Concatenation(map(self._sequence, placed.paths))
        raise NotImplementedError(f"PyTorch's engine has no {type(placed.layer).__name__}")


class _Pixels(nn.Module):  # type: ignore[misc]
    """From uint8 images to (batch, channels, side, side) float32."""

    def __init__(self, dataset: Dataset, margin: int) -> None:
        """`margin` is how much wider the images are to be on every side, of zeros, in pixels."""
        super().__init__()
        self._grey = dataset.train.images.ndim == 3
        self._factor = dataset.factor
        self._scale = 1.0 / dataset.deviation
        self._margin = margin

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self._grey:
            images = images.unsqueeze(1)
        if self._factor > 1:
            images = images.repeat_interleave(self._factor, 2).repeat_interleave(self._factor, 3)
        images = images.to(torch.float32) * self._scale
        return functional.pad(images, (self._margin,) * 4) if self._margin else images


class Linear(nn.Linear):  # type: ignore[misc]
    """A dense layer that keeps its gradient's factors; PyTorch computes no gradient of its weights and bias."""

    inputs: torch.Tensor
    errors: torch.Tensor

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """The same as without."""
        bias = None if self.bias is None else self.bias.detach()
        score = functional.linear(value, self.weight.detach(), bias)
        if not torch.is_grad_enabled():
            return score
        self.inputs = value.detach()
        self.errors = torch.zeros_like(score, requires_grad=True)  # its gradient is that of the output
        return score + self.errors


def _pooling(layer: layers.Pooling) -> nn.Module:
    if layer.size == layers.ALL:
        return nn.AdaptiveAvgPool2d(1) if layer.kind == "average" else nn.AdaptiveMaxPool2d(1)
    kind = nn.AvgPool2d if layer.kind == "average" else nn.MaxPool2d
    return kind(layer.size, layer.stride or layer.size, layer.padding, ceil_mode=layer.rounding == "up")


class _Joined(nn.Module):  # type: ignore[misc]
    def __init__(self, paths: Iterable[nn.Module]) -> None:
        super().__init__()
        self.paths = nn.ModuleList(paths)

    def made(self, value: torch.Tensor) -> list[torch.Tensor]:
        return [path(value) for path in self.paths]


class _Sum(_Joined):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        path, shortcut = self.made(value)
        return path + shortcut


class _Concatenation(_Joined):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return torch.cat(self.made(value), dim=1)
