"""What a user gains: the time to an accuracy, of each size with its quickest policy."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from harness.analysis.analysis import Analysis
from harness.analysis.statistics.intervals import Estimate, estimate_of
from harness.display import text
from harness.report.findings.compared import spread
from harness.report.findings.ends import count
from harness.report.tables import goal_text


def goal_sentences(analysis: Analysis) -> list[tuple[str, tuple[str, ...]]]:
    """Sentences on the time to each of the run's headline accuracies, by the label of what they are of.

    The label is empty where there is one. A family that reached none of them has no sentence.
    """
    goals = analysis.goals[analysis.goals["accuracy"].isin(analysis.headlines)]
    alone = goals["family"].nunique() == 1
    found = [
        (
            "" if alone else str(own["label"].iloc[0]),
            tuple(_sentences(own, _others(analysis, own), analysis.headlines)),
        )
        for _, own in goals.groupby("family")
    ]
    return [(label, sentences) for label, sentences in found if sentences]


def _others(analysis: Analysis, rows: pd.DataFrame) -> pd.DataFrame:
    """What each policy alone reached at the smallest size of a family."""
    each = analysis.policy_goals
    found: pd.DataFrame = each[(each["label"] == rows["label"].iloc[0]) & (each["nodes"] == rows["nodes"].min())]
    return found


def _sentences(rows: pd.DataFrame, others: pd.DataFrame, headlines: tuple[float, ...]) -> Iterator[str]:
    for accuracy in headlines:
        own = rows[rows["accuracy"] == accuracy].sort_values("nodes")
        reached = own[own["seconds"].map(math.isfinite)]
        if reached.empty:
            continue
        first, last = own.iloc[0], own.iloc[-1]
        goal = f"{goal_text(accuracy)} validation accuracy"
        if len(own) == 1:
            yield f"{goal} took {_took(first)}."
        elif not math.isfinite(first["seconds"]):
            yield f"{_nodes(first)} did not reach {goal}; {_took(reached.iloc[-1])}."
        elif math.isfinite(last["seconds"]):
            yield f"{goal} took {_took(first)} and {_took(last)}: {gain_text(last)}."
            yield from _against(others[others["accuracy"] == accuracy], first, last)
        else:
            most = reached.iloc[-1]
            further = "" if len(reached) == 1 else f" and {_took(most)}: {gain_text(most)}"
            yield f"{goal} took {_took(first)}{further}. {_nodes(last)} did not reach it."


def _against(others: pd.DataFrame, first: pd.Series, last: pd.Series) -> Iterator[str]:
    """How the largest size compares with the smallest one under the policies that were not its quickest."""
    for _, row in others.iterrows():
        if row["policy"] == first["policy"] or not math.isfinite(row["seconds"]):
            continue
        # Both intervals together: wider than that of pairs.
        ends = (row["seconds_low"] / last["seconds_high"], row["seconds_high"] / last["seconds_low"])
        gain = Estimate(row["seconds"] / last["seconds"], *ends)
        yield (
            f"Against {_nodes(row)} with policy {row['policy']} ({text.seconds(row['seconds'])}) it is "
            f"{text.ratio(gain.value)} times as fast{spread(gain, text.ratio)}."
        )


def gain_text(row: pd.Series) -> str:
    """The speed-up to an accuracy in words, as sure as its interval allows.

    Args:
        row: a row of `Analysis.goals`, float64 (no unit).
    """
    gain = estimate_of(row, "speedup")
    if math.isnan(gain.value):
        return "no ratio"
    if not gain.has_interval:
        return f"{text.ratio(gain.value)} times as fast (one trial each: no interval)"
    said = f"{text.ratio(gain.value)} times as fast{spread(gain, text.ratio)}"
    if gain.low > 1 or gain.high < 1:
        return said
    if gain.low == 0 or math.isinf(gain.high):
        return f"{said}; not sure, for not every repeat reached it"
    return f"no difference to be seen: {said}"


def _took(row: pd.Series) -> str:
    policy = f"policy {row['policy']}, " if row["policy"] else ""
    return f"{text.seconds(row['seconds'])} on {_nodes(row)} ({policy}{count(row['epochs'], 'epoch')})"


def _nodes(row: pd.Series) -> str:
    return text.nodes(row["nodes"])
