"""Dense layers of which this worker computes a slice, and the exchanges around them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ...kvstores.base import KVStore
from ...reporting.phases import BACKWARD, FORWARD
from ...split.parts import Plan


class SlicedLinear(nn.Linear):  # type: ignore[misc]  # torch has types only where it is installed
    """Trains some outputs; scores by all of them, where these are held."""

    whole: tuple[torch.Tensor, ...] = ()
    """Weights and, where there is one, bias, as long as they are held."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """In training the slice's outputs alone."""
        return super().forward(value) if self.training else nn.functional.linear(value, *self.whole)


class Joint(nn.Module):  # type: ignore[misc]
    """Hands over, through the store, what came before it; where it is not trained, nothing."""

    store: KVStore

    def __init__(self, plan: Plan, number: int) -> None:
        """Before the part of this number."""
        super().__init__()
        self.plan = plan
        self.number = number
        self.images = 0
        """Of this worker."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """What the next part takes."""
        flat = value.flatten(1)
        return _Exchange.apply(flat, self) if self.training else flat


class _Exchange(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(context: Any, made: torch.Tensor, joint: Joint) -> torch.Tensor:
        context.joint = joint
        own = made.contiguous()
        taken = torch.empty(joint.plan.forms(joint.number, joint.images)[1])
        joint.store.phases.compute(FORWARD)
        joint.store.cross(joint.number, own.numpy(), taken.numpy())
        return taken

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        joint: Joint = context.joint
        own = gradient.contiguous()
        made = torch.empty(joint.plan.forms(joint.number, joint.images)[0])
        joint.store.phases.compute(BACKWARD)
        joint.store.cross_back(joint.number, own.numpy(), made.numpy())
        return made, None
