"""How a key-value store says what it is: one `KVSTORE` in its module, readable before any library is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .base import KVStore

if TYPE_CHECKING:
    from ..engines.base import Engine

FLOAT32, BFLOAT16, TWO_BIT = "float32", "bfloat16", "2bit"
"""How gradients travel."""


@dataclass(frozen=True)
class KVStoreOptions:
    """What is asked of a store beside its name."""

    synchronise_every: int = 1
    """Steps between averages of the values."""
    wire: str = FLOAT32
    """How gradients travel."""
    threshold: float | None = None
    """Of the 2-bit wire, in units of a worker's mean gradient; the default where None."""
    rule: str | None = None
    """What becomes of gradients and values where the workers meet; None leaves it to the store."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """The program's other parameters, by name: the store and the rule know which are theirs."""


@dataclass(frozen=True)
class Opening:
    """What a store is opened with."""

    engine: Engine
    options: KVStoreOptions
    batch_size: int
    """Images of a worker's step on average."""
    rate: float
    """The highest learning rate."""
    finished: int
    """Epochs that are done: a worker that takes a dead one's place must meet the others in the next."""


def no_environment(sizes: Sequence[int], given: Mapping[str, str]) -> dict[str, str]:
    """Nothing is wanted."""
    return {}


def anything(options: KVStoreOptions) -> None:
    """What the store has, goes together."""


@dataclass(frozen=True)
class Registration:
    """A store's name and what it can do."""

    name: str
    """Its value of `--kvstore`."""
    open: Callable[[Opening], KVStore]
    """Opens it; imports what that needs."""
    engines: tuple[str, ...] = ()
    """Engines that it works with. Empty: every engine that has no other store of this name."""
    wires: tuple[str, ...] = (FLOAT32,)
    options: tuple[str, ...] = ()
    """The program's parameters, beside `wire`, that are meant for it."""
    check: Callable[[KVStoreOptions], None] = anything
    """Raises ProgramError where options of its own do not go together."""
    roles: tuple[str, ...] = ("worker",)
    """Roles that its trials have."""
    environment: Callable[[Sequence[int], Mapping[str, str]], dict[str, str]] = no_environment
    """What it wants the engine to find in the environment, from the elements of the model's arrays and what is given."""
