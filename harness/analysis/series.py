"""Which curve a trial belongs to: a series is one combination of variant and swept parameters."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.contract.columns import roles_in, trial_columns

# A longer label leaves no room for the curves.
_LONGEST_LABEL = 60


@dataclass(frozen=True)
class Series:
    """One curve: its values of what tells curves apart, and whether it is the control: nodes that train independently."""

    index: int
    values: tuple[str, ...]
    label: str
    control: bool


def series_parameters(trials: pd.DataFrame, axes: Mapping[str, tuple[Any, ...]] | None) -> tuple[str, ...]:
    """The columns that tell curves apart: `variant` where used, then the swept parameters.

    Where the axes are not known, a parameter counts as swept when it varies among trials of one variant, size and repeat.

    Args:
        trials: frame with the columns of trials.csv, of any dtype and unit.
        axes: a swept parameter's values by its name, None where they are not known.
    """
    variant = ("variant",) if "variant" in trials and _distinct(trials["variant"]) - {""} else ()
    if axes is not None:
        swept = [name for name, values in axes.items() if name in trials and name != "nodes" and len(values) > 1]
        return (*variant, *swept)
    # The plan raises the seed with the repeat: such a parameter tells repeats apart, not curves.
    within = [name for name in ("variant", "nodes", "repeat") if name in trials]
    known = trial_columns((), roles_in(map(str, trials.columns)))
    candidates = [str(name) for name in trials.columns if name not in known]
    return (*variant, *(name for name in candidates if _varies(trials, name, within)))


def assign_series(
    trials: pd.DataFrame, names: Sequence[str], control: Mapping[str, Any]
) -> tuple[tuple[Series, ...], list[int]]:
    """The series in order of first appearance, controls last, and for every row of `trials` the index of its series.

    Args:
        trials: frame with the columns of trials.csv, of any dtype and unit.
        names: the columns that tell curves apart.
        control: the parameters' values that make a trial the control; none where the program has no control.
    """
    keys = [tuple(show_value(row[name]) for name in names) for _, row in trials.iterrows()]
    wanted = tuple(show_value(value) for value in control.values())
    used: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for key, (_, row) in zip(keys, trials.iterrows(), strict=True):
        used.setdefault(key, set()).add(tuple(show_value(row.get(name)) for name in control))
    controls = {key for key in used if wanted and used[key] == {wanted}}
    order = sorted(used, key=lambda key: key in controls)
    found = tuple(
        Series(index, key, _label(key, names, used[key]), control=key in controls) for index, key in enumerate(order)
    )
    place = {one.values: one.index for one in found}
    return found, [place[key] for key in keys]


def control_of(one: Series, series: Sequence[Series], names: Sequence[str], apart: Collection[str]) -> Series | None:
    """The control that differs from a series in nothing but the columns `apart`; None where there is none."""
    if one.control:
        return None
    same = [position for position, name in enumerate(names) if name not in apart]
    return next(
        (other for other in series if other.control and all(other.values[i] == one.values[i] for i in same)), None
    )


def show_value(value: Any) -> str:
    """A parameter's value as text; whole numbers without a fraction, "" for what is not set."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "".join(character if character.isprintable() else " " for character in str(value))


def _label(key: tuple[str, ...], names: Sequence[str], used: set[tuple[str, ...]]) -> str:
    """The values of what tells curves apart; of a single curve those of the control's parameters."""
    if not names:
        alone = " · ".join(filter(None, next(iter(used)))) if len(used) == 1 else ""
        return alone or "all trials"
    shown = [value or "not set" for value in key]
    if len(names) == 1:
        return _shortened(shown[0])
    named = zip(names, shown, strict=True)
    return _shortened(" · ".join(value if name == "variant" else f"{name} {value}" for name, value in named))


def _shortened(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"


def _varies(trials: pd.DataFrame, name: str, within: list[str]) -> bool:
    groups: dict[tuple[Hashable, ...], set[str]] = {}
    for _, row in trials.iterrows():
        groups.setdefault(tuple(show_value(row[column]) for column in within), set()).add(show_value(row[name]))
    return any(len(values) > 1 for values in groups.values())


def _distinct(column: pd.Series) -> set[str]:
    return {show_value(value) for value in column}
