"""From a run's tables to numbers per cluster size: pure functions over pandas frames.

Times are seconds, accuracies and shares fractions of 1, sizes bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.events import PHASE_KEYS
from harness.report.epoch_rows import last_rows
from harness.report.facts import Facts, read_facts
from harness.report.health import telemetry_table
from harness.report.notes import SHARED_LOOPBACK, partial_notes
from harness.report.series import Series, assign_series, control_of, series_parameters
from harness.report.steps import step_table

DEFAULT_TARGET = 0.97
MEASURED = ("ok", "suspect")

METRICS = (
    "total_seconds",
    "startup_seconds",
    "epochs",
    "epoch_seconds",
    "train_epoch_seconds",
    "compute_epoch_seconds",
    "wait_epoch_seconds",
    "validation_epoch_seconds",
    "wait_share",
    "validation_share",
    "startup_share",
    "step_seconds",
    "wait_step_seconds",
    "compute_step_seconds",
    "steps_per_epoch",
    "global_batch",
    "worker_batch",
    "images_per_second",
    "images_per_second_per_node",
    "bytes_per_worker_step",
    "bytes_per_image",
    "train_accuracy",
    "validation_accuracy",
    "best_validation_accuracy",
    "target_seconds",
    "target_epochs",
    "speedup",
    "efficiency",
    "total_speedup",
    "kept",
    "model_parameters",
)

_TRIAL_NUMBERS = (
    "nodes",
    "repeat",
    "attempts",
    "recovered",
    "continued_from_epoch",
    "workers",
    "startup_seconds",
    "train_seconds",
    "validation_seconds",
    "total_seconds",
    "images",
    "images_per_second",
    "wait_seconds",
    "bytes_sent",
    "bytes_received",
    "train_accuracy",
    "validation_accuracy",
    "best_validation_accuracy",
    "model_parameters",
)
_AS_MEASURED = (
    "total_seconds",
    "startup_seconds",
    "train_accuracy",
    "validation_accuracy",
    "best_validation_accuracy",
    "model_parameters",
)
_EPOCH_NUMBERS = (
    "epoch",
    "steps",
    "images",
    "train_seconds",
    "validation_seconds",
    *PHASE_KEYS,
    "train_accuracy",
    "validation_accuracy",
)
_TELEMETRY_NUMBERS = ("cpu_percent", "memory_used_bytes", "temperature_celsius", "bytes_sent", "bytes_received")


@dataclass(frozen=True)
class Target:
    """The validation accuracy that "time to target" is measured to.

    `lowered` is true where not every trial reached the default, and the highest level that all reached is used instead.
    """

    accuracy: float
    lowered: bool = False


@dataclass(frozen=True)
class Analysis:
    """All that figures and page show.

    - `trials`: one row a measured trial: `trial`, `series`, `nodes`, `repeat`, `suspect`, then METRICS.
    - `points`: one row a (series, nodes): `trials` and `suspects` (counts), `base_nodes`, then each metric's median and
      its `_min` and `_max`.
    - `epochs`: one row a (series, nodes, epoch): medians of `train_accuracy` and `validation_accuracy`.
    - `ranks`: one row a measured trial and rank: `own_seconds`, its training time without the waiting.
    - `steps`: one row a (series, nodes): what a step's time went into; see `steps.step_table`.
    - `telemetry`: one row a measured trial and node: means, peaks and rates.
    - `failures`, `suspects`: the rows of trials.csv concerned.
    """

    facts: Facts
    parameters: tuple[str, ...]
    series: tuple[Series, ...]
    trials: pd.DataFrame
    points: pd.DataFrame
    epochs: pd.DataFrame
    ranks: pd.DataFrame
    steps: pd.DataFrame
    telemetry: pd.DataFrame
    failures: pd.DataFrame
    suspects: pd.DataFrame
    target: Target | None
    notes: tuple[str, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Cluster sizes planned or measured, ascending."""
        return tuple(sorted({*self.facts.planned_nodes, *(int(n) for n in self.points["nodes"])}))

    @property
    def subjects(self) -> tuple[Series, ...]:
        """The series that answer the question: those with data, without the controls unless there is nothing else."""
        there = [one for one in self.series if not self.points_of(one).empty]
        return tuple([one for one in there if not one.control] or there)

    def points_of(self, one: Series) -> pd.DataFrame:
        """The points of one series, by cluster size."""
        return self.points[self.points["series"] == one.index].sort_values("nodes")

    def trials_of(self, one: Series) -> pd.DataFrame:
        """The measured trials of one series."""
        return self.trials[self.trials["series"] == one.index]


def analyse(
    trials: pd.DataFrame,
    epochs: pd.DataFrame,
    telemetry: pd.DataFrame,
    manifest: Mapping[str, Any],
    *,
    target: float | None = None,
    notes: tuple[str, ...] = (),
) -> Analysis:
    """Aggregate a run.

    The frames have the columns of trials.csv, epochs.csv and telemetry.csv (docs/design.md); what is absent is unknown.
    `target` is a validation accuracy; without one it is 97%, or the highest level that all trials reached.
    """
    facts = read_facts(manifest)
    trials = _with_columns(trials, _TRIAL_NUMBERS, ("trial", "status", "failure", "left_out"))
    epochs = _with_columns(epochs, (*_EPOCH_NUMBERS, "rank"), ("trial",))
    telemetry = _with_columns(telemetry, _TELEMETRY_NUMBERS, ("trial", "node", "time", "throttled"))
    if facts.kind == "local":
        trials, telemetry = _without_bytes(trials), _without_bytes(telemetry)
        notes = (*notes, SHARED_LOOPBACK)
    trials = trials[trials["nodes"].notna()].drop_duplicates("trial", keep="last").reset_index(drop=True)
    trials["nodes"] = trials["nodes"].astype(int)

    names = series_parameters(trials, facts.axes)
    series, row_series = assign_series(trials, names)
    trials["series"] = pd.Series(row_series, index=trials.index, dtype=int)
    measured = trials[trials["status"].isin(MEASURED)].reset_index(drop=True)

    per_epoch = epoch_table(epochs[epochs["trial"].isin(list(measured["trial"]))])
    controls = {one.index: other.index for one in series if (other := control_of(one, series, names)) is not None}
    reached = choose_target(measured, per_epoch, {one.index for one in series if one.control}, target)
    numbers = measure(measured.join(steady_rates(epochs), on="trial"), per_epoch, reached)
    numbers = add_ratios(numbers, controls)
    return Analysis(
        facts=facts,
        parameters=names,
        series=series,
        trials=numbers,
        points=aggregate(numbers),
        epochs=_median_epochs(per_epoch, numbers),
        ranks=rank_table(epochs, numbers),
        steps=step_table(epochs, numbers),
        telemetry=telemetry_table(telemetry, numbers, facts.dilation),
        failures=trials[~trials["status"].isin(MEASURED)].reset_index(drop=True),
        suspects=trials[trials["status"] == "suspect"].reset_index(drop=True),
        target=reached,
        notes=(*notes, *partial_notes(trials, epochs, facts)),
    )


def epoch_table(epochs: pd.DataFrame) -> pd.DataFrame:
    """One row a trial and epoch: the slowest worker's seconds, the mean worker's waiting, and what all workers share."""
    rows = last_rows(epochs.dropna(subset=["epoch"]))
    table = rows.groupby(["trial", "epoch"], as_index=False).agg(
        steps=("steps", "max"),
        images=("images", "sum"),
        train_seconds=("train_seconds", "max"),
        validation_seconds=("validation_seconds", "max"),
        wait_seconds=("wait_seconds", "mean"),
        train_accuracy=("train_accuracy", "median"),
        validation_accuracy=("validation_accuracy", "median"),
    )
    table["seconds"] = table["train_seconds"] + table["validation_seconds"].fillna(0.0)
    table["elapsed_seconds"] = table.groupby("trial")["seconds"].cumsum()
    return table


def steady_rates(epochs: pd.DataFrame) -> pd.DataFrame:
    """By trial: `steady_rate`, the workers' own images per second added up, and `steady_workers`, how many these are.

    The first epoch is left out where there is another: it holds what happens only once. Workers that do not wait for each
    other have no common time, so the slowest one's would understate them.
    """
    rows = last_rows(epochs.dropna(subset=["epoch"]))
    first, last = (rows.groupby("trial")["epoch"].transform(name) for name in ("min", "max"))
    rows = rows[(rows["epoch"] > first) | (first == last)]
    sums = rows.groupby(["trial", "rank"])[["images", "train_seconds"]].sum(min_count=1)
    by_trial = (sums["images"] / sums["train_seconds"]).groupby("trial")
    return pd.DataFrame({"steady_rate": by_trial.sum(), "steady_workers": by_trial.count()})


def choose_target(
    measured: pd.DataFrame, per_epoch: pd.DataFrame, controls: set[int], asked: float | None
) -> Target | None:
    """The accuracy to measure time to; None where no accuracy was measured."""
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


def measure(measured: pd.DataFrame, per_epoch: pd.DataFrame, target: Target | None) -> pd.DataFrame:
    """Per-trial numbers (METRICS without the ratios between trials), one row a measured trial; it has `steady_rates` too.

    `compute` is the slowest worker's training time less the mean worker's waiting; shares are of an epoch's time
    (training and validation), the start-up's of the total.
    """
    seen = per_epoch.groupby("trial").agg(
        seen_epochs=("epoch", "nunique"), seen_steps=("steps", "sum"), seen_images=("images", "sum")
    )
    rows = measured.join(seen.replace(0, np.nan), on="trial")
    out = measured[["trial", "series", "nodes", "repeat"]].copy()
    out["suspect"] = measured["status"] == "suspect"
    for name in _AS_MEASURED:
        out[name] = rows[name]
    out["startup_share"] = rows["startup_seconds"] / rows["total_seconds"]
    _measure_epochs(out, rows)
    _measure_steps(out, rows)
    return out.join(_time_to_target(per_epoch, target), on="trial").replace([np.inf, -np.inf], np.nan)


def _measure_epochs(out: pd.DataFrame, rows: pd.DataFrame) -> None:
    declared = pd.to_numeric(rows["epochs"], errors="coerce") if "epochs" in rows else np.nan
    count = rows["seen_epochs"].fillna(declared)
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
    whole = rows["images_per_second"].fillna(images / rows["train_seconds"])
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


def add_ratios(numbers: pd.DataFrame, controls: Mapping[int, int]) -> pd.DataFrame:
    """Per-trial numbers with `speedup`, `efficiency`, `total_speedup` and `kept`.

    Speed-ups are against the median of the smallest cluster size that the same series measured; `controls` maps a
    series to its control. `kept` compares with the control of the same repeat, which ran next to it, or else with the
    control's median.
    """
    out = numbers.copy()
    out["base_nodes"] = out.groupby("series")["nodes"].transform("min")
    clock = time_basis(out)
    for name, column in (("speedup", clock), ("total_speedup", "total_seconds")):
        at_base = out[out["nodes"] == out["base_nodes"]].groupby("series")[column].median()
        out[name] = out["series"].map(at_base) / out[column]
    out["efficiency"] = out["speedup"] * out["base_nodes"] / out["nodes"]
    out["kept"] = [_kept(row, out, controls) for _, row in out.iterrows()]
    return out


def time_basis(numbers: pd.DataFrame) -> str:
    """The time that speed-ups compare: `epoch_seconds`, or `total_seconds` where the program reported no epochs."""
    return "epoch_seconds" if numbers["epoch_seconds"].notna().any() else "total_seconds"


def _kept(trial: pd.Series, numbers: pd.DataFrame, controls: Mapping[int, int]) -> float:
    index = int(trial["series"])
    if index not in controls:
        return math.nan
    there = numbers[(numbers["series"] == controls[index]) & (numbers["nodes"] == trial["nodes"])]
    beside = there[there["repeat"] == trial["repeat"]]
    base = (beside if len(beside) else there)["images_per_second"].median()
    return float(trial["images_per_second"]) / float(base) if len(there) and base > 0 else math.nan


def aggregate(numbers: pd.DataFrame) -> pd.DataFrame:
    """One row a (series, nodes): counts, and median, `_min` and `_max` over the repeats of every metric."""
    groups = numbers.groupby(["series", "nodes"])
    metrics = list(METRICS)
    parts = [
        groups.agg(trials=("trial", "count"), suspects=("suspect", "sum"), base_nodes=("base_nodes", "first")),
        groups[metrics].median(),
        groups[metrics].min().add_suffix("_min"),
        groups[metrics].max().add_suffix("_max"),
    ]
    return pd.concat(parts, axis="columns").reset_index()


def rank_table(epochs: pd.DataFrame, numbers: pd.DataFrame) -> pd.DataFrame:
    """One row a measured trial and rank: `node` (where known) and `own_seconds`, training without waiting."""
    rows = last_rows(epochs).copy()
    rows["own_seconds"] = rows["train_seconds"] - rows["wait_seconds"]
    if "node" not in rows:
        rows["node"] = ""
    table = rows.groupby(["trial", "rank"], as_index=False).agg(
        node=("node", "last"), own_seconds=("own_seconds", lambda values: values.sum(min_count=1))
    )
    return numbers[["trial", "series", "nodes"]].merge(table, on="trial")


def _median_epochs(per_epoch: pd.DataFrame, numbers: pd.DataFrame) -> pd.DataFrame:
    rows = numbers[["trial", "series", "nodes"]].merge(per_epoch, on="trial")
    return rows.groupby(["series", "nodes", "epoch"], as_index=False)[
        ["train_accuracy", "validation_accuracy"]
    ].median()


def _without_bytes(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(bytes_sent=np.nan, bytes_received=np.nan)


def _with_columns(frame: pd.DataFrame, numbers: tuple[str, ...], texts: tuple[str, ...]) -> pd.DataFrame:
    out = frame.copy()
    for name in numbers:
        out[name] = pd.to_numeric(out[name], errors="coerce").astype(float) if name in out else np.nan
    for name in texts:
        out[name] = out[name].fillna("").astype(str) if name in out else pd.Series("", out.index, dtype=str)
    return out
