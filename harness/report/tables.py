"""The tables of the report's page: which metrics each has; headings and remarks are those of METRICS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from harness.analysis.analysis import Analysis
from harness.analysis.metrics import METRICS
from harness.analysis.series import Series
from harness.analysis.statistics.efficiency import is_above, reason_above
from harness.analysis.statistics.intervals import Estimate, estimate_of
from harness.display import text

Show = Callable[[float], str]


@dataclass(frozen=True)
class Cell:
    """A median, and its 95% interval where there are several repeats."""

    median: str
    spread: str = ""


@dataclass(frozen=True)
class Table:
    """Columns (heading, unit or remark) and, per series, its rows; sentences below it."""

    title: str
    columns: tuple[tuple[str, str], ...]
    groups: tuple[tuple[str, tuple[tuple[Cell, ...], ...]], ...]
    notes: tuple[str, ...] = ()


_TIME = ("epoch_seconds", "total_seconds", "images_per_second", "speedup", "efficiency", "total_speedup")
_COST = (
    "wait_share", "validation_share", "startup_seconds", "step_seconds", "wait_step_seconds", "bytes_per_worker_step",
    "bytes_per_image",
)  # fmt: skip
_ACCURACY = (
    "train_accuracy", "validation_accuracy", "best_validation_accuracy", "epochs", "global_batch", "steps_per_epoch",
    "target_epochs", "target_seconds",
)  # fmt: skip

_SHOWN: dict[str, Show] = {
    "speedup": text.ratio,
    "total_speedup": text.ratio,
    "step_seconds": text.seconds,
    "wait_step_seconds": text.seconds,
    "train_accuracy": text.accuracy,
    "validation_accuracy": text.accuracy,
    "best_validation_accuracy": text.accuracy,
}
_SHOWN_BY_UNIT: dict[str, Show] = {"fraction": text.percent, "bytes": text.size}


def show(metric: str) -> Show:
    """How values of a metric are written."""
    return _SHOWN.get(metric) or _SHOWN_BY_UNIT.get(METRICS[metric].unit, text.number)


def heading(analysis: Analysis, metric: str) -> tuple[str, str]:
    """What stands over a metric's values: its name, and its unit or what it is relative to."""
    column = METRICS[metric]
    if metric == "efficiency":
        return column.heading, EFFICIENCY_REMARKS[analysis.efficiency_basis]
    return column.heading, column.remark


# Of one cluster size these say nothing.
_OF_TWO_SIZES = frozenset(("speedup", "total_speedup"))
MARK = "\N{DAGGER}"
"""After an efficiency above 100%, which is explained below the table."""

EFFICIENCY_REMARKS = {
    "unknown": "not known: the nodes differ, and were not measured",
    "independent": "of the same nodes training independently",
    "smallest size": "speed-up over growth in nodes",
}


def tables(analysis: Analysis) -> list[Table]:
    """The tables that the run has data for."""
    if analysis.points.empty:
        return []
    named = (("Time", _TIME), ("What an epoch's time went into", _COST), ("Accuracy", _ACCURACY))
    found = [metric_table(analysis, title, columns) for title, columns in named]
    return [table for table in (*goal_tables(analysis), *found) if len(table.columns) > 2]


def goal_tables(analysis: Analysis) -> list[Table]:
    """The times to the accuracies to lead with, their speed-ups and policies; then those to the other accuracies."""
    goals = analysis.goals
    reached = sorted(set(goals.loc[np.isfinite(goals["seconds"]), "accuracy"]))
    others = [each for each in reached if each not in analysis.headlines]
    found = [_goal_table(analysis, "Time to accuracy", analysis.headlines, details=True)] if analysis.headlines else []
    found += [table for accuracy in analysis.headlines for table in _policy_tables(analysis, accuracy)]
    return [*found, *([_goal_table(analysis, "Time to other accuracies", others, details=False)] if others else [])]


def _policy_tables(analysis: Analysis, accuracy: float) -> list[Table]:
    """The time to an accuracy with every policy, not the quickest alone."""
    goals = analysis.policy_goals[analysis.policy_goals["accuracy"] == accuracy]
    found = []
    for label, own in goals.groupby("label", sort=False):
        policies = list(dict.fromkeys(own["policy"]))
        rows = []
        for nodes, there in own.groupby("nodes"):
            times = there.drop_duplicates("policy").set_index("policy")
            cells = [
                _with_interval(times.loc[policy], "seconds", text.number)
                if policy in times.index
                else Cell(text.UNKNOWN)
                for policy in policies
            ]
            rows.append((Cell(f"{nodes}"), *cells))
        where = f", {label}" if goals["label"].nunique() > 1 else ""
        columns = (("nodes", ""), *((policy, "s") for policy in policies))
        found.append(Table(f"Time to {goal_text(accuracy)} by policy{where}", columns, (("", tuple(rows)),)))
    return found


def _estimated(value: Estimate, show: Show = text.number) -> Cell:
    ends = text.between(value.low, value.high, show, "\N{HORIZONTAL ELLIPSIS}") if value.has_interval else ""
    return Cell(show(value.value), ends)


def _goal_table(analysis: Analysis, title: str, accuracies: Sequence[float], *, details: bool) -> Table:
    goals = analysis.goals[analysis.goals["accuracy"].isin(list(accuracies))]
    policies, several = goals["policy"].any(), bool((goals["nodes"] != goals["base_nodes"]).any())
    columns = [("nodes", "")]
    for accuracy in accuracies:
        goal = goal_text(accuracy)
        columns.append((f"time to {goal}", "s"))
        if details:
            columns += [("speed-up", f"to {goal}")] if several else []
            columns += [("policy", "the quickest")] if policies else []
            columns += [("epochs", f"to {goal}")]
    groups = []
    for _, own in goals.groupby("family"):
        rows = []
        for nodes, at in own.groupby("nodes"):
            cells = [Cell(f"{nodes}")]
            for accuracy in accuracies:
                there = at[at["accuracy"] == accuracy]
                cells += (
                    _goal_cells(there.iloc[0], several=several, policies=bool(policies))
                    if details
                    else [_with_interval(there.iloc[0], "seconds", text.number)]
                )
            rows.append(tuple(cells))
        label = str(own["label"].iloc[0]) if goals["family"].nunique() > 1 else ""
        groups.append((label, tuple(rows)))
    return Table(
        title, tuple(columns), tuple(groups), _goal_notes(analysis, policies=bool(policies)) if details else ()
    )


def _goal_notes(analysis: Analysis, *, policies: bool) -> tuple[str, ...]:
    notes = ["An accuracy is reached at the end of the first epoch that has it; nothing is interpolated."]
    if policies:
        notes.append(
            "Each size with the quickest of the declared policies, also the size that speed-ups are relative to."
        )
    return (*notes, *filter(None, [analysis.goals_note]))


def _goal_cells(row: pd.Series, *, several: bool, policies: bool) -> list[Cell]:
    cells = [_with_interval(row, "seconds", text.number)]
    is_base = row["nodes"] == row["base_nodes"]
    cells += [Cell("1") if is_base else _with_interval(row, "speedup", text.ratio)] if several else []
    cells += [Cell(row["policy"] if np.isfinite(row["seconds"]) else text.UNKNOWN)] if policies else []
    return [*cells, Cell(text.count(row["epochs"]))]


def goal_text(accuracy: float) -> str:
    """`98%`, `98.5%`."""
    return f"{100 * accuracy:.6g}%"


def _with_interval(row: pd.Series, name: str, show: Show) -> Cell:
    return _estimated(estimate_of(row, name), show)


def shown_metrics(analysis: Analysis, metrics: Sequence[str]) -> list[str]:
    """Of some metrics those that the run has values for and that say something of it."""
    several = bool((analysis.points["nodes"] != analysis.points["base_nodes"]).any())
    trivial = set() if several else {*_OF_TWO_SIZES}
    if not several and analysis.efficiency_basis != "independent":
        trivial.add("efficiency")
    if not analysis.facts.program.batch:  # what a step takes is no batch then: trees of a forest, say
        trivial.add("global_batch")
    return [metric for metric in metrics if analysis.points[metric].notna().any() and metric not in trivial]


def above_notes(analysis: Analysis) -> list[str]:
    """Why an efficiency is above 100%, a sentence for each reason."""
    where: dict[str, list[str]] = {}
    for one in analysis.series:
        for _, row in analysis.points_of(one).iterrows():
            if not one.control and (reason := reason_above(analysis, row)):
                label = f" ({one.label})" if len(analysis.subjects) > 1 else ""
                where.setdefault(reason, []).append(f"{text.nodes(row['nodes'])}{label}")
    return [f"{MARK} Above 100% at {', '.join(places)}: {reason}." for reason, places in where.items()]


def metric_table(analysis: Analysis, title: str, metrics: Sequence[str]) -> Table:
    """A table of the columns that the run has data for."""
    shown = shown_metrics(analysis, metrics)
    groups = [(one, analysis.points_of(one)) for one in analysis.series]
    return Table(
        title,
        (("nodes", ""), ("trials", ""), *(heading(analysis, metric) for metric in shown)),
        tuple(
            (_group_label(analysis, one), tuple(_cells(row, shown) for _, row in points.iterrows()))
            for one, points in groups
            if len(points)
        ),
        tuple(above_notes(analysis)) if "efficiency" in shown else (),
    )


def _cells(row: pd.Series, metrics: Sequence[str]) -> tuple[Cell, ...]:
    count = f"{row['trials']:.0f}" + (f" ({row['suspects']:.0f} suspect)" if row["suspects"] else "")
    return (Cell(f"{row['nodes']:.0f}"), Cell(count), *(_cell(row, metric) for metric in metrics))


def _cell(row: pd.Series, metric: str) -> Cell:
    cell = _with_interval(row, metric, show(metric))
    return replace(cell, median=cell.median + MARK) if metric == "efficiency" and is_above(row) else cell


def _group_label(analysis: Analysis, one: Series) -> str:
    if len(analysis.series) == 1:
        return ""
    return f"{one.label} ({text.CONTROL})" if one.control else one.label
