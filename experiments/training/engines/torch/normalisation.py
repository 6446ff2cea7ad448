"""`SharedNormalisation` as a module of PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd import Function

from ..normalisation import SharedNormalisation


class SharedNorm(nn.Module):  # type: ignore[misc]  # torch has types only where it is installed
    """In training by all workers' statistics; what is kept of them is `norm`'s, which normalises by that."""

    def __init__(self, norm: nn.Module, layer: SharedNormalisation) -> None:
        super().__init__()
        self._norm = norm
        self._layer = layer

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        if not self.training:
            return self._norm(values)
        norm, ones = self._norm, torch.ones(values.shape[1])
        scale, shift = (norm.weight, norm.bias) if norm.affine else (ones, torch.zeros_like(ones))
        made = _Shared.apply(values, scale, shift, self._layer)
        self._layer.keep(norm.running_mean.numpy(), norm.running_var.numpy())
        return made


class _Shared(Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, layer: SharedNormalisation
    ) -> torch.Tensor:
        values = values.contiguous()
        ctx.save_for_backward(values, scale)
        ctx.layer = layer
        made = torch.empty_like(values)
        layer.forward(values.numpy(), scale.numpy(), shift.numpy(), made.numpy())
        return made

    @staticmethod
    def backward(ctx: Any, errors: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values, scale = ctx.saved_tensors
        made = torch.empty_like(values)
        found = ctx.layer.backward(values.numpy(), scale.detach().numpy(), errors.contiguous().numpy(), made.numpy())
        return made, *(torch.from_numpy(gradient.astype(np.float32)) for gradient in found), None
