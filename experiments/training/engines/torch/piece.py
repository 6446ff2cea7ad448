"""Consecutive layers on PyTorch whose backward runs apart from the others'."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from ..base import Floats, Parameter


class Piece:
    """A graph of autograd's by itself, from a forward to the backward after it."""

    _taken: torch.Tensor
    _made: torch.Tensor

    def __init__(self, layers: nn.Module, *, last: bool) -> None:
        """`last` are the model's last layers, which go on to the loss."""
        self._layers = layers
        self._last = last

    def forward(self, taken: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Run the layers.

        Args:
            taken: of the model's first layers (batch, side, side) uint8, or with channels before the sides, in units
                of the data set's pixels; else what comes from the piece before, float32, no unit: a leaf that
                requires its gradient.
            labels: (batch,) int64, numbers of classes, no unit.

        Returns:
            (batch, channels, side, side) or (batch, units) float32, no unit, without its graph; of the model's
                last layers as `judged` gives.
        """
        self._taken, self._made = taken, self._layers(taken)
        if not self._last:
            return self._made.detach()
        self._made, outcome = judged(self._made, labels)
        return outcome

    def backward(self, head: torch.Tensor | None) -> torch.Tensor | None:
        """Add to the arrays' gradients, and let go of the graph.

        Args:
            head: the gradient of what was made, as `forward` gave it; None for the model's last layers.

        Returns:
            the gradient of what was taken, float32, no unit; None for the model's first layers.
        """
        self._made.backward(head)
        gradient, self._taken.grad = self._taken.grad, None
        del self._made, self._taken
        return gradient


def judged(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What backward begins with, and what a batch is judged by.

    Args:
        logits: (batch, classes) float32, no unit.
        labels: (batch,) int64, numbers of classes, no unit.

    Returns:
        () float32, the cross-entropy summed over the batch, with its graph; (two,) float32, without: that
            and the count of right answers.
    """
    loss = functional.cross_entropy(logits, labels, reduction="sum")
    return loss, torch.stack((loss.detach(), (logits.argmax(1) == labels).sum()))


def clear(parameters: Sequence[Parameter]) -> None:
    """Begin with gradients of nothing; an array that has a buffer for itself gets its gradient from PyTorch anew."""
    for parameter in parameters:
        if torch.is_tensor(parameter.gradient):
            parameter.gradient.zero_()
        else:
            parameter.value.grad = None


def flat(tensor: torch.Tensor) -> Floats:
    """The memory of a tensor, of any shape, float32.

    Returns:
        (size,) float32, in the tensor's units.
    """
    elements: Floats = tensor.detach().numpy().reshape(-1)
    return elements
