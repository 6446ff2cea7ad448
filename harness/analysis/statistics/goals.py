"""The time to an accuracy: of every trial, and of every cluster size with the quickest of its policies. Pure.

An accuracy counts as reached at the end of the first epoch that has it: a model is validated there and nowhere between, so
nothing is interpolated. A trial that never reached it took for ever (inf): a median of several is finite only if most did.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.series import Series
from harness.analysis.statistics.intervals import Estimate, estimate, ratio

HEADLINES = (0.98, 0.985)
"""What a report begins with, where any trial reached it."""

COLUMNS = (
    "family", "label", "policy", "series", "nodes", "base_nodes", "accuracy", "trials", "reached", "epochs", "seconds",
    "seconds_low", "seconds_high", "speedup", "speedup_low", "speedup_high",
)  # fmt: skip


@dataclass(frozen=True)
class Family:
    """Series that differ in their policy alone; of each size the quickest counts. A series without a policy is alone."""

    label: str
    members: tuple[Series, ...]
    policies: tuple[str, ...]
    """Of the members, in their order; empty texts where there is none."""


def reached_table(per_epoch: pd.DataFrame, accuracies: Collection[float]) -> pd.DataFrame:
    """One row a trial and accuracy: when it was reached.

    Args:
        per_epoch: frame as `epoch_table` gives it (float64; s, images, fractions).
        accuracies: fractions of 1.

    Returns:
        Frame with columns `trial` (text), `accuracy` (fraction), `seconds` (training and validation), `steps`, `epochs`
        (counts), all float64 and inf where it was never reached; trials that were never validated have no row.
    """
    rows = per_epoch.assign(steps_so_far=per_epoch.groupby("trial")["steps"].cumsum())
    found = []
    for trial, own in rows.dropna(subset=["validation_accuracy"]).groupby("trial", sort=False):
        for accuracy in accuracies:
            there = own[own["validation_accuracy"] >= accuracy]
            when = [math.inf] * 3
            if len(there):
                when = [float(there.iloc[0][name]) for name in ("elapsed_seconds", "steps_so_far", "epoch")]
            found.append((trial, accuracy, *when))
    return pd.DataFrame(found, columns=["trial", "accuracy", "seconds", "steps", "epochs"])


def families(series: Sequence[Series], names: Sequence[str], policies: Collection[str]) -> tuple[Family, ...]:
    """The series without the controls, those that differ only in a variant of `policies` together."""
    place = names.index("variant") if "variant" in names else None
    groups: dict[tuple[str, ...], list[Series]] = {}
    for one in series:
        if not one.control:
            groups.setdefault(_without_policy(one, place, policies), []).append(one)
    found = []
    for members in groups.values():
        named = tuple(_policy(one, place, policies) for one in members)
        rest = " · ".join(value for at, value in enumerate(members[0].values) if at != place or not named[0])
        label = members[0].label if len(members) == 1 and not named[0] else rest or "the quickest policy"
        found.append(Family(label, tuple(members), named))
    return tuple(found)


def by_policy(grouped: Sequence[Family]) -> tuple[Family, ...]:
    """Of families with several policies each policy alone."""
    return tuple(
        Family(family.label, (one,), (policy,))
        for family in grouped
        if len(family.members) > 1
        for one, policy in zip(family.members, family.policies, strict=True)
    )


def goal_table(grouped: Sequence[Family], numbers: pd.DataFrame, reached: pd.DataFrame) -> pd.DataFrame:
    """One row a (family, nodes, accuracy): the quickest policy's time, and its speed-up over the smallest size's.

    The policy is chosen by the medians that are shown: of policies that are close, the chosen one's time is a little flattered.

    Args:
        grouped: the families.
        numbers: frame with columns `trial` (text), `series`, `nodes` (int64, count), `repeat` (float64), a row a trial.
        reached: frame as `reached_table` gives it (float64; s, counts).

    Returns:
        Frame with columns as COLUMNS: `label`, `policy` (text), `family`, `series`, `nodes`, `base_nodes`, `trials`, `reached`
        (int64; counts), and as float64 `accuracy` (fraction), `epochs` (count), `seconds` with its 95% interval (s), `speedup`
        with its own (no unit).
        What most trials did not reach is inf.
    """
    joined = numbers[["trial", "series", "nodes", "repeat"]].merge(reached, on="trial")
    rows = []
    for index, family in enumerate(grouped):
        own = joined[joined["series"].isin([one.index for one in family.members])]
        base_nodes = int(own["nodes"].min()) if len(own) else 0
        for accuracy, there in own.groupby("accuracy"):
            best = {int(str(nodes)): _quickest(family, at) for nodes, at in there.groupby("nodes")}
            for nodes, (place, times, epochs, seconds) in best.items():
                gain = _gain(best[base_nodes][1], times) if base_nodes in best else Estimate(math.nan)
                rows.append((
                    index, family.label, family.policies[place], family.members[place].index, nodes, base_nodes, accuracy,
                    len(times), sum(map(math.isfinite, times.values())), epochs,
                    seconds.value, seconds.low, seconds.high, gain.value, gain.low, gain.high,
                ))  # fmt: skip
    return goal_frame(rows)


def goal_frame(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    """Rows of COLUMNS as a frame, in the order of family, accuracy and nodes.

    Returns:
        Frame as `goal_table` gives it (dtypes, units).
    """
    texts, counts = ("label", "policy"), ("family", "series", "nodes", "base_nodes", "trials", "reached")
    kinds = {name: object if name in texts else "int64" if name in counts else "float64" for name in COLUMNS}
    frame = pd.DataFrame(list(rows), columns=list(COLUMNS)).astype(kinds)
    return frame.sort_values(["family", "accuracy", "nodes"], ignore_index=True)


def headline_accuracies(goals: pd.DataFrame, asked: float | None) -> tuple[float, ...]:
    """What to lead with: what was asked for, or HEADLINES, or else the highest accuracy that any size reached.

    Args:
        goals: frame as `goal_table` gives it (float64; fractions, s).
        asked: a fraction of 1, or None.
    """
    if asked is not None:
        return (asked,)
    known = sorted(set(goals.loc[np.isfinite(goals["seconds"]), "accuracy"]))
    return tuple(each for each in HEADLINES if each in known) or tuple(known[-1:])


def _quickest(family: Family, rows: pd.DataFrame) -> tuple[int, Mapping[float, float], float, Estimate]:
    """Place of the quickest member, its seconds by repeat, its median epochs, and the estimate of its seconds."""
    found = []
    for place, one in enumerate(family.members):
        own = rows[rows["series"] == one.index]
        if len(own):
            times = dict(zip(own["repeat"], own["seconds"], strict=True))
            found.append((place, times, float(own["epochs"].median()), estimate(own["seconds"].to_numpy(float))))
    return min(found, key=lambda each: each[3].value)


def _gain(base: Mapping[float, float], times: Mapping[float, float]) -> Estimate:
    if not math.isfinite(float(np.median(list(base.values())))) or not math.isfinite(
        float(np.median(list(times.values())))
    ):
        return Estimate(math.nan)
    return ratio(base, times)


def _policy(one: Series, place: int | None, policies: Collection[str]) -> str:
    return one.values[place] if place is not None and one.values[place] in policies else ""


def _without_policy(one: Series, place: int | None, policies: Collection[str]) -> tuple[str, ...]:
    named = _policy(one, place, policies)
    return tuple("" if at == place and named else value for at, value in enumerate(one.values))
