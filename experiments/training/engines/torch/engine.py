"""PyTorch as an engine."""

from __future__ import annotations

import os

import torch

from ..base import Engine
from ..layout import Layout
from .model import TorchModel


class TorchEngine(Engine):
    """PyTorch's modules and its own optimizer, on the CPU."""

    factors = True

    def in_turns(self) -> bool:
        """It computes when it is called."""
        return True

    def build(self, layout: Layout) -> TorchModel:
        """A model of this layout; always one part: backward is one call."""
        return TorchModel(layout)


def create() -> TorchEngine:
    """The engine, with as many threads as the environment says: without a word, PyTorch takes one a core."""
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    return TorchEngine()
