"""How an engine says what it is: one `ENGINE` in its module, readable where its library is not installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .base import Engine


@dataclass(frozen=True)
class Registration:
    """An engine; its name is its module's."""

    title: str
    """As its makers write it."""
    library: str
    """The module that must be installed."""
    remedy: str
    """What to do where it is not."""
    create: Callable[[], Engine]
    """Makes the engine; imports the library."""
