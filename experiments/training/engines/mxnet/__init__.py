"""The engine on MXNet 1.9.1."""

from __future__ import annotations

from ..base import Engine
from ..registration import Registration


def _create() -> Engine:
    from .engine import create

    return create()


ENGINE = Registration("MXNet", "mxnet", "provision the node (site.yml), or use --engine torch", _create)
