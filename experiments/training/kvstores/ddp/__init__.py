"""`allreduce` on PyTorch: DistributedDataParallel over gloo, the baseline; else, as far as that cannot do it, the store of all
engines: with a rule, with factors, with synchronised batch statistics, where workers share layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...engines.normalisation import synchronised
from ...errors import ProgramError
from ...rules.common.cadence import STEPS
from ...split import DATA
from .. import allreduce
from ..allreduce.dense import FACTORS
from ..base import KVStore
from ..registration import KVStoreOptions, Opening, Registration


def is_baseline(rule: str | None, own: Mapping[str, Any]) -> bool:
    """Whether DistributedDataParallel serves, where the program's other parameters are its `own`."""
    ordinary = own.get("dense_gradients") != FACTORS and not synchronised(own)
    return rule is None and ordinary and own.get("strategy", DATA) == DATA


def _check(options: KVStoreOptions) -> None:
    own = options.own
    if not is_baseline(options.rule, own):
        return
    if own.get("meet_every") is not None or own.get("cadence", STEPS) != STEPS or own.get("meet_delay"):
        raise ProgramError("without a rule PyTorch's workers meet in every step", "name a rule, such as --rule average")
    if own.get("lars"):
        raise ProgramError("LARS needs a rule in which workers step alone", "use --rule average, or leave --lars out")
    if own.get("sign_messages"):
        raise ProgramError("DistributedDataParallel signs no messages", "use --rule sgd, or leave --sign-messages out")


def _open(opening: Opening) -> KVStore:
    if not is_baseline(opening.options.rule, opening.options.own):
        return allreduce.KVSTORE.open(opening)
    from .kvstore import DdpKVStore

    return DdpKVStore(opening)


KVSTORE = Registration(
    "allreduce",
    _open,
    engines=("torch",),
    options=tuple(name for name in allreduce.KVSTORE.options if name != "synchronise_every"),
    check=_check,
)
