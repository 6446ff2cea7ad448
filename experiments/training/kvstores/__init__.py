"""The key-value stores by name. Each registers itself: any module or package here that has a `KVSTORE` is one."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module

from contract import wire

from .. import engines
from ..errors import ProgramError
from ..rules import RULES
from .base import KVStore
from .registration import TWO_BIT, KVStoreOptions, Opening, Registration

__all__ = ["KVStore", "KVStoreOptions", "check", "environment", "open_kvstore", "registered"]


@cache
def registered(engine: str) -> dict[str, Registration]:
    """The stores that work with an engine, by name."""
    found = {one.name: one for one in _all() if not one.engines}
    return found | {one.name: one for one in _all() if engine in one.engines}


def _all() -> Iterator[Registration]:
    for module in pkgutil.iter_modules(__path__):
        found = getattr(import_module(f".{module.name}", __package__), "KVSTORE", ())
        yield from found if isinstance(found, tuple) else (found,)


def environment(name: str, sizes: Sequence[int], given: Mapping[str, str], engine: str = "mxnet") -> dict[str, str]:
    """What a store wants the engine to find in the environment `given`, where the user has not said otherwise.

    `sizes` are the elements of the model's arrays in forward order. Where a node is measured alone, that is of the store that
    `given` names in `MEASURED_AS`, so that it computes as it will then. Raises ProgramError.
    """
    wanted = _find(_measured_as(given).get("kvstore", name), engine).environment(sizes, given)
    return {variable: value for variable, value in wanted.items() if variable not in given}


def check(name: str, options: KVStoreOptions, engine: str = "mxnet") -> None:
    """Raise ProgramError where `options` ask for what the store of that name has not, or the engine has no such store."""
    store, others = _find(name, engine), registered(engine).values()
    if options.wire not in store.wires:
        having = [one.name for one in others if options.wire in one.wires]
        raise ProgramError(f"the store {name} does not exchange {options.wire}", _remedy(having, "--wire"))
    if options.synchronise_every > 1 and "synchronise_every" not in store.options:
        having = [one.name for one in others if "synchronise_every" in one.options]
        raise ProgramError(f"the store {name} exchanges in every step", _remedy(having, "--synchronise-every"))
    if options.rule is not None and "rule" not in store.options:
        having = [one.name for one in others if "rule" in one.options]
        raise ProgramError(f"the store {name} has one rule only", _remedy(having, "--rule"))
    if options.rule is not None and name not in RULES[options.rule].media:
        media = RULES[options.rule].media
        raise ProgramError(
            f"the store {name} cannot carry the rule {options.rule}",
            f"use --kvstore {' or '.join(media)}, or another rule",
        )
    if options.threshold is not None and options.wire != TWO_BIT:
        raise ProgramError(f"{options.wire} has no threshold", f"use --wire {TWO_BIT}, or leave --threshold out")
    store.check(options)


def open_kvstore(
    name: str,
    options: KVStoreOptions,
    *,
    engine: str = "mxnet",
    batch_size: int,
    rate: float,
    finished: int = 0,
) -> KVStore:
    """Open the store of that name; this process's place in the trial stands in the environment.

    `batch_size` images are a worker's step on average, `rate` is the highest learning rate, `finished` is how many epochs are
    done. Raises ProgramError where `options` ask for what the store has not.
    """
    check(name, options, engine)
    opening = Opening(engines.load(engine), options, batch_size, rate, finished)
    return _find(name, engine).open(opening)


def _find(name: str, engine: str) -> Registration:
    known = registered(engine)
    if name not in known:
        raise ProgramError(
            f"{engines.TITLES[engine]} has no store {name}", f"use --kvstore with one of: {', '.join(known)}"
        )
    return known[name]


def _remedy(having: Sequence[str], option: str) -> str:
    """Use one of the stores that have it, or leave the option out."""
    use = f"use --kvstore {' or '.join(having)}, or " if having else ""
    return f"{use}leave {option} out"


def _measured_as(given: Mapping[str, str]) -> Mapping[str, str]:
    """The parameters that were changed to measure a node alone, with what they will be."""
    text = given.get(wire.MEASURED_AS)
    if not text:
        return {}
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise ProgramError(
            f"{wire.MEASURED_AS}={text} is no JSON object", "start the program through `harness benchmark`"
        )
    return values
