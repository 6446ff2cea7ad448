"""The models on PyTorch: the same arrays, first values and arithmetic as `network.py`'s."""

from __future__ import annotations

import torch
from torch import nn

from .models import CLASSES, KERNEL, Architecture, Weights


class Network(nn.Sequential):  # type: ignore[misc]  # torch has types only where it is installed
    """From uint8 images (batch, side, side) to logits (batch, 10); `weights` in forward order are its first values.

    `image_side` is the images' own; the rest of the architecture's side is zero padding of the first convolution.
    """

    def __init__(
        self, architecture: Architecture, image_side: int, deviation: float, weights: dict[str, Weights]
    ) -> None:
        super().__init__(*_layers(architecture, image_side))
        self._scale = 1.0 / deviation
        self._names = list(weights)
        with torch.no_grad():
            for parameter, values in zip(self.parameters(), weights.values(), strict=True):
                parameter.copy_(torch.from_numpy(values))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return super().forward(images.unsqueeze(1).to(torch.float32) * self._scale)

    def weights(self) -> dict[str, Weights]:
        """The values as they are now, by name, in forward order."""
        return {
            name: parameter.detach().numpy().copy()
            for name, parameter in zip(self._names, self.parameters(), strict=True)
        }


def _layers(architecture: Architecture, image_side: int) -> list[nn.Module]:
    pooling = nn.AvgPool2d if architecture.pooling == "avg" else nn.MaxPool2d
    layers: list[nn.Module] = []
    channels, side = 1, architecture.side
    padding = (architecture.side - image_side) // 2
    for filters in architecture.convolutions:
        layers += [nn.Conv2d(channels, filters, KERNEL, padding=padding), nn.Tanh(), pooling(2)]
        channels, side, padding = filters, (side - KERNEL + 1) // 2, 0
    layers.append(nn.Flatten())
    inputs = channels * side * side
    for units in architecture.hidden:
        layers += [nn.Linear(inputs, units), nn.Tanh()]
        inputs = units
    return [*layers, nn.Linear(inputs, CLASSES)]
