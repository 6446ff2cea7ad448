"""The engines by name. Each registers itself: any module or package here that has an `ENGINE` is one.

The library of an engine is imported when the engine is asked for.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from importlib.util import find_spec

from ..errors import ProgramError
from .base import Engine
from .registration import Registration


def _registered() -> dict[str, Registration]:
    modules = {module.name: import_module(f".{module.name}", __package__) for module in pkgutil.iter_modules(__path__)}
    return {name: module.ENGINE for name, module in sorted(modules.items()) if hasattr(module, "ENGINE")}


_ENGINES = _registered()

NAMES = tuple(_ENGINES)

TITLES = {name: engine.title for name, engine in _ENGINES.items()}


def require(name: str) -> None:
    """Raise ProgramError where the engine's library is not installed; nothing is imported."""
    engine = _ENGINES[name]
    if find_spec(engine.library) is None:
        raise ProgramError(f"this node's runtime has no {engine.title}", engine.remedy)


def load(name: str) -> Engine:
    """Import an engine, with its library."""
    return _ENGINES[name].create()
