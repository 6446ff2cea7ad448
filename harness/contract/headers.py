"""What the header of a table says: unit and meaning of every column that it names. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harness.contract.columns import COLUMNS, Column, column, count_column, cpu_column, roles_in

TRIALS = "trials.csv"
OWN_UNIT = "its own"
"""Of a parameter, which no contract knows the unit of."""

_UNKNOWN = Column("", OWN_UNIT, "Not known to this version of the harness.")


def described(file: str, header: Iterable[str]) -> tuple[Column, ...]:
    """The columns that a header of this file names, in its order.

    In trials.csv a name that is no column, no role's and no accuracy's is a parameter.
    """
    names = list(header)
    known = {each.name: each for each in COLUMNS.get(file, ())}
    if file != TRIALS:
        return tuple(known.get(name) or replace(_UNKNOWN, name=name) for name in names)
    for role in roles_in(names):
        for name_of in (count_column, cpu_column):
            known[name_of(role)] = replace(column(file, name_of("<role>")), name=name_of(role))
    return tuple(known.get(name) or replace(_of_experiment(name), name=name) for name in names)


def _of_experiment(name: str) -> Column:
    """What stands in the table of columns for a column that depends on the experiment."""
    time_to = column(TRIALS, "seconds_to_<accuracy>")
    return time_to if name.startswith(time_to.name.partition("<")[0]) else column(TRIALS, "<parameter>")
