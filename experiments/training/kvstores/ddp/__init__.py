"""`allreduce` on PyTorch: DistributedDataParallel over gloo, the baseline; with a rule or factors the store of all engines."""

from __future__ import annotations

from ...errors import ProgramError
from ...rules.common.cadence import OPTIONS as CADENCE_OPTIONS
from ...rules.common.cadence import STEPS
from ...rules.common.descent import OPTIONS as STEP_OPTIONS
from ..allreduce.dense import FACTORS
from ..base import KVStore
from ..registration import Opening, Registration


def _open(opening: Opening) -> KVStore:
    rule, own = opening.options.rule, opening.options.own
    if rule is not None or own.get("dense_gradients") == FACTORS:
        from ..allreduce.kvstore import AllreduceKVStore

        return AllreduceKVStore(opening)
    if own.get("meet_every") is not None or own.get("cadence", STEPS) != STEPS:
        raise ProgramError("without a rule PyTorch's workers meet in every step", "name a rule, such as --rule average")
    if own.get("lars"):
        raise ProgramError("LARS needs a rule in which workers step alone", "use --rule average, or leave --lars out")
    from .kvstore import DdpKVStore

    return DdpKVStore(opening)


KVSTORE = Registration(
    "allreduce",
    _open,
    engines=("torch",),
    options=(
        "rule",
        "dense_gradients",
        *(name for name in CADENCE_OPTIONS if name != "synchronise_every"),
        *STEP_OPTIONS,
    ),
)
