"""The engine on PyTorch."""

from __future__ import annotations

from ..base import Engine
from ..registration import Registration


def _create() -> Engine:
    from .engine import create

    return create()


ENGINE = Registration(
    "PyTorch", "torch", "provision it with PyTorch's wheel: docs/how-to/pytorch.md has the command", _create
)
