"""A training step on PyTorch where workers share layers: part by part, with their exchanges between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from ...kvstores.base import KVStore
from ...reporting.phases import BACKWARD, FORWARD
from ...split.parts import Plan
from ..base import Batch, Parameter
from .network import Network
from .piece import Piece, clear


class Parts:
    """The parts of a plan, a piece each."""

    def __init__(self, network: Network, plan: Plan, parameters: Sequence[Parameter]) -> None:
        """`parameters` are the model's buffers."""
        self._plan = plan
        self._parameters = parameters
        self._crossings = frozenset(plan.crossings)
        self._pieces = [self._piece(network, number) for number in range(len(plan.parts))]

    def train(self, batch: Batch, store: KVStore) -> torch.Tensor:
        """Forward and backward of every part.

        Args:
            batch: as the model has it; the images are those of the first part.
            store: is told of every part, and exchanges between them.

        Returns:
            (two,) float32: loss and count of right answers, no unit.
        """
        flow, labels = batch
        if self._plan.walked:
            labels = labels[self._plan.walked]
        for number, piece in enumerate(self._pieces):
            store.before_part(number)
            if number in self._crossings:
                flow = self._forth(number, flow, len(labels), store)
            flow = piece.forward(flow.requires_grad_() if number else flow, labels)
            store.phases.compute(FORWARD)
            store.forward_done(number)
        clear(self._parameters)  # until its part's forward began, a buffer's gradients were the store's
        head: torch.Tensor | None = None
        for number, piece in reversed(list(enumerate(self._pieces))):
            head = piece.backward(head)
            store.phases.compute(BACKWARD)
            if head is not None and number in self._crossings:
                head = self._back(number, head, len(labels), store)
            store.after_part(number)
        return flow

    def _piece(self, network: Network, number: int) -> Piece:
        """What is exchanged is flat, an image a row."""
        layers = self._plan.parts[number].layers
        unfolded = [nn.Unflatten(1, layers[0].before)] if number in self._crossings and layers else []
        flattened = [nn.Flatten()] if number + 1 in self._crossings else []
        own = network.part(layers, first=not number)
        return Piece(nn.Sequential(*unfolded, own, *flattened), last=number + 1 == len(self._plan.parts))

    def _forth(self, number: int, made: torch.Tensor, images: int, store: KVStore) -> torch.Tensor:
        taken = np.empty(self._plan.forms(number, images)[1], np.float32)
        store.cross(number, made.numpy(), taken)
        return torch.from_numpy(taken)

    def _back(self, number: int, gradient: torch.Tensor, images: int, store: KVStore) -> torch.Tensor:
        head = np.empty(self._plan.forms(number, images)[0], np.float32)
        store.cross_back(number, gradient.numpy(), head)
        return torch.from_numpy(head)
