"""Rules: what becomes of gradients and values when workers meet. Pure NumPy on flat slices, whatever moves the bytes.

Each registers itself: any module here that has a `RULE` is one, and its file's name is the rule's name. What they share is in
`common`.
"""

import pkgutil
from importlib import import_module

from .average import Average
from .common.base import Rule
from .common.cadence import Cadence, cadence_of
from .sgd import Sgd

_MODULES = [import_module(f".{module.name}", __name__) for module in pkgutil.iter_modules(__path__)]

RULES: dict[str, type[Rule]] = {module.RULE.name: module.RULE for module in _MODULES if hasattr(module, "RULE")}

__all__ = ["RULES", "Cadence", "Rule", "cadence_of", "chosen_rule", "keeps_apart"]


def chosen_rule(name: str | None, cadence: Cadence) -> type[Rule]:
    """The rule of that name; without one, `sgd` where workers meet in every step, else `average`."""
    return RULES[name or (Sgd if cadence.always else Average).name]


def keeps_apart(rule: type[Rule], cadence: Cadence) -> bool:
    """Whether the shared values lie beside a worker's own ones: these are not the same at an epoch's end, or the rule asks."""
    return rule.apart or rule.keeps or not cadence.at_epochs
