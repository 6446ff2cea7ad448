"""MXNet as an engine."""

from __future__ import annotations

import os

from ..base import Engine
from ..layout import Layout
from .model import MxnetModel


def engine_in_turns() -> bool:
    """Whether MXNet computes when it is called (NaiveEngine), rather than on threads of its own, later."""
    return os.environ.get("MXNET_ENGINE_TYPE") == "NaiveEngine"


class MxnetEngine(Engine):
    """Cached graphs and bound executors; no per-parameter Python in a step."""

    factors = True

    def in_turns(self) -> bool:
        """Whether there are no threads of its own."""
        return engine_in_turns()

    def build(self, layout: Layout) -> MxnetModel:
        """A model of this layout."""
        return MxnetModel(layout, in_turns=engine_in_turns())


def create() -> MxnetEngine:
    """The engine."""
    return MxnetEngine()
