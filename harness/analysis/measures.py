"""Per-trial numbers, their ratios between trials, and their medians by cluster size. Pure.

Times are seconds, accuracies and shares fractions of 1, sizes bytes. Every frame of numbers has the columns `trial` (text),
`series`, `nodes` (int64), `repeat` (float64), `suspect` (bool) and those of METRICS (float64, units as there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from harness.analysis.metrics import AS_MEASURED, METRICS
from harness.analysis.statistics.intervals import draw_medians, interval_of_draws

DEFAULT_TARGET = 0.97

EfficiencyBasis = Literal["independent", "smallest size", "unknown"]
"""What efficiency is relative to: the same nodes training independently, or the series' smallest cluster size; unknown where
the nodes differ, so that a size says nothing of another."""

SpeedupBasis = Literal["epoch_seconds", "images_per_second", "total_seconds"]
"""The metric that speed-ups compare."""

BASES: dict[SpeedupBasis, str] = {
    "epoch_seconds": "time per epoch",
    "total_seconds": "total time",
    "images_per_second": "images per second",
}
"""What each is called."""

# Epochs whose images differ by less are the same one: what a whole pass leaves out depends on the batch.
_SAME_EPOCH = 1.1


@dataclass(frozen=True)
class Target:
    """The validation accuracy, a fraction of 1, that "time to target" is measured to.

    `lowered` is true where not every trial reached the default, and the highest level that all reached is used instead.
    """

    accuracy: float
    lowered: bool = False


def choose_target(
    measured: pd.DataFrame, per_epoch: pd.DataFrame, controls: set[int], asked: float | None
) -> Target | None:
    """The accuracy to measure time to: the one that was asked for, or 97%, or the highest level that all trials reached.

    Args:
        measured: frame with columns `trial` (text) and `series` (int64), without units, a row a measured trial.
        per_epoch: frame as `epoch_table` gives it; `validation_accuracy` is float64 (a fraction).
        controls: the series that do not count.
        asked: a fraction of 1, or None.

    Returns:
        None where no accuracy was measured.
    """
    if asked is not None:
        return Target(asked)
    subjects = measured[~measured["series"].isin(list(controls))]
    names = (subjects if len(subjects) else measured)["trial"]
    best = per_epoch[per_epoch["trial"].isin(list(names))].groupby("trial")["validation_accuracy"].max().dropna()
    if best.empty:
        return None
    common = float(best.min())
    if common >= DEFAULT_TARGET:
        return Target(DEFAULT_TARGET)
    lowered = math.floor(common * 1000 + 1e-9) / 1000
    return Target(lowered, lowered=True) if lowered > 0 else None


def measure(
    measured: pd.DataFrame, per_epoch: pd.DataFrame, target: Target | None, epochs_parameter: str | None = None
) -> pd.DataFrame:
    """Per-trial numbers without the ratios between trials.

    Args:
        measured: frame with the columns of trials.csv (numbers as float64, units of docs/reference/columns.md) of the measured
            trials, and `series` (int64), `workers` (float64, count), `steady_rate` and `steady_workers` of `added_rates`.
        per_epoch: frame as `epoch_table` gives it (float64; s, images, fractions).
        target: what time is measured to.
        epochs_parameter: the parameter that says how many epochs there are, for programs that report none.

    Returns:
        Frame with the columns, dtypes and units of numbers (see above), a row a measured trial, without `speedup`,
        `efficiency`, `total_speedup` and `independent_images_per_second`.
    """
    seen = per_epoch.groupby("trial").agg(
        seen_epochs=("epoch", "nunique"), seen_steps=("steps", "sum"), seen_images=("images", "sum")
    )
    rows = measured.join(seen.replace(0, np.nan), on="trial")
    declared = pd.to_numeric(rows[epochs_parameter], errors="coerce") if epochs_parameter in rows else np.nan
    out = measured[["trial", "series", "nodes", "repeat"]].copy()
    out["suspect"] = measured["status"] == "suspect"
    for name in AS_MEASURED:
        out[name] = rows[name]
    out["startup_share"] = rows["startup_seconds"] / rows["total_seconds"]
    _measure_epochs(out, rows, rows["seen_epochs"].fillna(declared))
    _measure_steps(out, rows)
    out["epoch_images"] = rows["images"] / out["epochs"]
    return out.join(_time_to_target(per_epoch, target), on="trial").replace([np.inf, -np.inf], np.nan)


def _measure_epochs(out: pd.DataFrame, rows: pd.DataFrame, count: pd.Series) -> None:
    train, validation, wait = (rows[name] / count for name in ("train_seconds", "validation_seconds", "wait_seconds"))
    seconds = train + validation.fillna(0.0)
    out["epochs"], out["epoch_seconds"], out["train_epoch_seconds"] = count, seconds, train
    out["compute_epoch_seconds"], out["wait_epoch_seconds"] = (train - wait).clip(lower=0.0), wait
    out["validation_epoch_seconds"] = validation
    out["wait_share"], out["validation_share"] = wait / seconds, validation / seconds
    out["steps_per_epoch"] = rows["seen_steps"] / count


def _measure_steps(out: pd.DataFrame, rows: pd.DataFrame) -> None:
    steps, images = rows["seen_steps"], rows["images"].fillna(rows["seen_images"])
    workers = rows["workers"].fillna(rows["nodes"])
    out["step_seconds"], out["wait_step_seconds"] = rows["train_seconds"] / steps, rows["wait_seconds"] / steps
    out["compute_step_seconds"] = (rows["train_seconds"] - rows["wait_seconds"]).clip(lower=0.0) / steps
    out["global_batch"] = rows["seen_images"] / steps
    out["worker_batch"] = out["global_batch"] / workers
    # Where a worker's rows are missing there is no sum of rates: the trial's whole time has to do.
    whole = rows["images_per_train_second"].fillna(images / rows["train_seconds"])
    out["images_per_second"] = rows["steady_rate"].where(rows["steady_workers"] == workers).fillna(whole)
    out["images_per_second_per_node"] = out["images_per_second"] / rows["nodes"]
    moved = rows["bytes_sent"] + rows["bytes_received"]
    out["bytes_per_worker_step"], out["bytes_per_image"] = moved / steps / workers, moved / images


def _time_to_target(per_epoch: pd.DataFrame, target: Target | None) -> pd.DataFrame:
    if target is None:
        return pd.DataFrame(columns=["target_seconds", "target_epochs"], index=pd.Index([], dtype=str), dtype=float)
    first = per_epoch[per_epoch["validation_accuracy"] >= target.accuracy].drop_duplicates("trial", keep="first")
    named = first.rename(columns={"elapsed_seconds": "target_seconds", "epoch": "target_epochs"})
    return named.set_index("trial")[["target_seconds", "target_epochs"]]


def add_ratios(
    numbers: pd.DataFrame, controls: Mapping[int, int], measured_rates: pd.Series, *, unlike: bool = False
) -> pd.DataFrame:
    """Per-trial numbers with their ratios between trials.

    Speed-ups are against the smallest cluster size that the same series measured: its trial of the same repeat, which ran
    nearest in time, or else its median. What the nodes do independently is the rate of the control of the same repeat, which
    ran next to the trial, or else the control's median; where there is no control, the nodes' measured rates added up.
    Efficiency is relative to that, in the whole run to the same: where nothing says what the nodes do independently, it is the
    speed-up over the growth in nodes, and nothing where the nodes differ.

    Args:
        numbers: frame of numbers as `measure` gives it (float64, units as there).
        controls: by series the series that is its control.
        measured_rates: Series of float64 by trial (images/s), as `rates_added_up` gives it.
        unlike: the nodes differ in speed.

    Returns:
        Frame with the same columns, `base_nodes` (int64, nodes), `speedup`, `total_speedup`, `efficiency` (float64, no unit)
        and `independent_images_per_second` (float64, images/s).
    """
    out = numbers.copy()
    out["base_nodes"] = out.groupby("series")["nodes"].transform("min")
    clock = speedup_basis(out)
    for name, column in (("speedup", clock), ("total_speedup", "total_seconds")):
        base = _at_base(out, column)
        out[name] = out[column] / base if column == "images_per_second" else base / out[column]
    beside = [_control_rate(row, out, controls) for _, row in out.iterrows()]
    by_rates = out["trial"].map(measured_rates).astype(float)
    out["independent_images_per_second"] = pd.Series(beside, out.index, dtype=float).fillna(by_rates)
    if efficiency_basis(out) == "independent":
        out["efficiency"] = out["images_per_second"] / out["independent_images_per_second"]
    elif unlike:
        out["efficiency"] = np.nan
    else:
        out["efficiency"] = out["speedup"] * out["base_nodes"] / out["nodes"]
    return out


def _at_base(numbers: pd.DataFrame, column: str) -> pd.Series:
    """By row the value at its series' smallest size: of the same repeat, or else the median."""
    base = numbers[numbers["nodes"] == numbers["base_nodes"]]
    beside = base.groupby(["series", "repeat"])[column].median()
    keys = pd.MultiIndex.from_frame(numbers[["series", "repeat"]])
    found = pd.Series(beside.reindex(keys).to_numpy(float), index=numbers.index)
    return found.fillna(numbers["series"].map(base.groupby("series")[column].median()))


def efficiency_basis(numbers: pd.DataFrame, *, unlike: bool = False) -> EfficiencyBasis:
    """What efficiency is relative to in a run.

    Args:
        numbers: frame with column `independent_images_per_second` (float64, images/s).
        unlike: the nodes differ in speed.

    Returns:
        "independent" where it is known of any trial.
    """
    if numbers["independent_images_per_second"].notna().any():
        return "independent"
    return "unknown" if unlike else "smallest size"


def speedup_basis(numbers: pd.DataFrame) -> SpeedupBasis:
    """What speed-ups compare.

    Args:
        numbers: frame of numbers as `measure` gives it (float64, units as there).

    Returns:
        "epoch_seconds"; "images_per_second" where a series' epochs do not have the same images at every size, as when each is
        cut after so many steps; "total_seconds" where the program reported no epochs.
    """
    if numbers["epoch_seconds"].isna().all():
        return "total_seconds"
    images = numbers.groupby("series")["epoch_images"]
    unlike = (images.max() > _SAME_EPOCH * images.min()).any()
    return "images_per_second" if unlike and numbers["images_per_second"].notna().any() else "epoch_seconds"


def _control_rate(trial: pd.Series, numbers: pd.DataFrame, controls: Mapping[int, int]) -> float:
    index = int(trial["series"])
    if index not in controls:
        return math.nan
    there = numbers[(numbers["series"] == controls[index]) & (numbers["nodes"] == trial["nodes"])]
    beside = there[there["repeat"] == trial["repeat"]]
    base = float((beside if len(beside) else there)["images_per_second"].median())
    return base if base > 0 else math.nan


def aggregate(numbers: pd.DataFrame) -> pd.DataFrame:
    """One row a (series, nodes): counts, and medians over the repeats.

    Args:
        numbers: frame of numbers as `add_ratios` gives it (float64, units as there).

    Returns:
        Frame with columns `series`, `nodes`, `trials`, `suspects` (counts), `base_nodes` (int64), and for each of METRICS its
        median and, with `_min` and `_max` added to the name, its range, and with `_low` and `_high` the 95% interval of the
        median (float64, units as there), NaN where it has not two values.
    """
    groups = numbers.groupby(["series", "nodes"])
    metrics = list(METRICS)
    intervals = {key: _intervals(rows[metrics]) for key, rows in groups}
    ends = [f"{name}_{end}" for name in metrics for end in ("low", "high")]
    counts = groups.agg(trials=("trial", "count"), suspects=("suspect", "sum"), base_nodes=("base_nodes", "first"))
    parts = [
        counts,
        groups[metrics].median(),
        groups[metrics].min().add_suffix("_min"),
        groups[metrics].max().add_suffix("_max"),
        pd.DataFrame(intervals).T if intervals else pd.DataFrame(index=counts.index, columns=ends, dtype=np.float64),
    ]
    return pd.concat(parts, axis="columns").rename_axis(["series", "nodes"]).reset_index()


def _intervals(rows: pd.DataFrame) -> dict[str, float]:
    """Both ends of every metric's interval, by the metric's name and `_low` or `_high`."""
    found: dict[str, float] = {}
    for name in rows:
        values = rows[name].dropna().to_numpy(float)
        ends = interval_of_draws(draw_medians(values)) if len(values) > 1 else (math.nan, math.nan)
        found[f"{name}_low"], found[f"{name}_high"] = ends
    return found
