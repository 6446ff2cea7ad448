"""Why an efficiency is above 100%: nothing is printed above it without a reason. Pure."""

from __future__ import annotations

import math

import pandas as pd

from harness.analysis.analysis import Analysis

# What would be written as more than 100%.
_ABOVE = 1.005


def is_above(row: pd.Series) -> bool:
    """Whether a point's efficiency would be written as more than 100%.

    Args:
        row: a row of `Analysis.points`, `efficiency` as float64 (fraction).
    """
    return bool(row["efficiency"] > _ABOVE)


def reason_above(analysis: Analysis, row: pd.Series) -> str:
    """Why a point's efficiency is above 100%, in words; empty where it is not.

    Args:
        analysis: of the point's run.
        row: a row of `Analysis.points`, `efficiency` with `_low` and `_high` as float64 (fractions).
    """
    if not is_above(row):
        return ""
    if analysis.facts.kind == "local" or analysis.cpu_models == ("none",):
        return "nothing limited the nodes' processors: all nodes, and the control's, shared one machine"
    if math.isnan(row["efficiency_low"]):
        return "one trial without an interval: it may be noise"
    if row["efficiency_low"] <= 1:
        return "its 95% interval includes 100%: not more than noise"
    if "quota" in analysis.cpu_models:
        return "under a CPU quota a node that has waited computes faster than one that has not"
    if analysis.efficiency_basis == "smallest size":
        return "the smallest size is the base, and loses time itself"
    return "nothing in this run explains it: what the nodes do independently was measured under other conditions"
