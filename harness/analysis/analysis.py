"""From a run's tables to numbers per cluster size: pure functions over pandas frames.

Times are seconds, accuracies and shares fractions of 1, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.energy.energy import Energy, energy_of
from harness.analysis.energy.sources import TEXTS as POWER_TEXTS
from harness.analysis.epochs import epoch_table, median_epochs, rank_table
from harness.analysis.facts import SHARED_LOOPBACK, Facts, partial_notes, read_facts, together_notes
from harness.analysis.health import telemetry_table
from harness.analysis.load import RunData
from harness.analysis.measures import (
    EfficiencyBasis,
    Target,
    add_ratios,
    aggregate,
    choose_target,
    efficiency_basis,
    measure,
)
from harness.analysis.program import Program
from harness.analysis.rates import added_rates, rates_added_up, steady_rows
from harness.analysis.series import Series, assign_series, control_of, series_parameters, show_value
from harness.analysis.statistics.goals import (
    Family,
    by_policy,
    families,
    goal_table,
    headline_accuracies,
    reached_table,
)
from harness.analysis.steps import step_table
from harness.contract import wire
from harness.contract.columns import AGGREGATED, TELEMETRY_COLUMNS, count_column
from harness.contract.json_line import mapping

MEASURED = ("ok", "suspect")

_TRIAL_NUMBERS = (
    "nodes", "repeat", "attempts", "recovered", "continued_from_epoch", "startup_seconds", "total_seconds",
    *(column.name for column in AGGREGATED), "images_per_train_second", "model_parameters",
)  # fmt: skip
_TEXTS = ("trial", "node", "time", "throttled")
_TELEMETRY_NUMBERS = tuple(name for name in TELEMETRY_COLUMNS if name not in _TEXTS)
# As trials.csv of earlier runs has them.
_RENAMED = {"images_per_second": "images_per_train_second"}


@dataclass(frozen=True)
class Analysis:
    """All that figures and page show.

    - `trials`: one row a measured trial: `trial`, `series`, `nodes`, `repeat`, `suspect`, then METRICS.
    - `points`: one row a (series, nodes): `trials` and `suspects` (counts), `base_nodes`, then each metric's median,
      its `_min` and `_max`, and its 95% interval `_low` and `_high`.
    - `reached`: one row a measured trial and accuracy: see `goals.reached_table`.
    - `goals`: one row a (family of policies, nodes, accuracy): time and speed-up to it; see `goals.goal_table`.
    - `policy_goals`: the same of each policy alone, where there are several.
    - `headlines`: the accuracies to lead with, fractions of 1.
    - `cpu_models`: how the processors of virtual nodes were slowed down; several where trials differ.
    - `settings`: by series every parameter of its first trial, as text, and its variant.
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
    families: tuple[Family, ...]
    reached: pd.DataFrame
    goals: pd.DataFrame
    policy_goals: pd.DataFrame
    headlines: tuple[float, ...]
    settings: Mapping[int, Mapping[str, str]]
    cpu_models: tuple[str, ...]
    target: Target | None
    notes: tuple[str, ...]
    goals_note: str = ""
    """Where `goals` are from, if not from this run alone."""
    energy: Energy = field(default_factory=Energy)
    """What the trials drew, where the run has a power.csv; see `energy.energy.Energy`."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Cluster sizes planned or measured, ascending."""
        return tuple(sorted({*self.facts.planned_nodes, *(int(n) for n in self.points["nodes"])}))

    @property
    def subjects(self) -> tuple[Series, ...]:
        """The series that answer the question: those with data, without the controls unless there is nothing else."""
        there = [one for one in self.series if not self.points_of(one).empty]
        return tuple([one for one in there if not one.control] or there)

    @property
    def efficiency_basis(self) -> EfficiencyBasis:
        """What efficiency is relative to in this run."""
        return efficiency_basis(self.trials, unlike=self.facts.unlike)

    def points_of(self, one: Series) -> pd.DataFrame:
        """The points of one series, by cluster size.

        Returns:
            Frame with the columns of `points` (float64, units as METRICS has them).
        """
        return self.points[self.points["series"] == one.index].sort_values("nodes")

    def trials_of(self, one: Series) -> pd.DataFrame:
        """The measured trials of one series.

        Returns:
            Frame with the columns of `trials` (float64, units as METRICS has them).
        """
        return self.trials[self.trials["series"] == one.index]


def analyse_run(run: RunData, target: float | None = None) -> Analysis:
    """Aggregate a run as `load_run` reads it; see `analyse`."""
    return analyse(
        run.trials,
        run.epochs,
        run.telemetry,
        run.manifest,
        target=target,
        notes=run.notes,
        power=run.power,
        ranks=run.ranks,
    )


def analyse(
    trials: pd.DataFrame,
    epochs: pd.DataFrame,
    telemetry: pd.DataFrame,
    manifest: Mapping[str, Any],
    *,
    target: float | None = None,
    notes: tuple[str, ...] = (),
    power: pd.DataFrame | None = None,
    ranks: pd.DataFrame | None = None,
) -> Analysis:
    """Aggregate a run.

    Args:
        trials: frame with the columns of trials.csv, dtypes as read_table gives them, units of docs/reference/columns.md;
            what is absent is unknown.
        epochs: frame with the columns of epochs.csv, in the same way (dtypes, units).
        telemetry: frame with the columns of telemetry.csv, in the same way (dtypes, units).
        manifest: as manifest.json has it.
        target: a validation accuracy (fraction of 1); without one it is 97%, or the highest level that all trials reached.
        notes: sentences to begin `Analysis.notes` with.
        power: frame with the columns of power.csv, in the same way (dtypes, units); None where nothing is known of power.
        ranks: frame with the columns of ranks.csv, in the same way (dtypes, units), wanted with `power`.
    """
    facts = read_facts(manifest)
    trials = _trials(trials, facts.program)
    epochs = _with_columns(epochs, (*wire.EPOCH_KEYS, "rank"), ("trial",))
    telemetry = _with_columns(telemetry, _TELEMETRY_NUMBERS, _TEXTS)
    if facts.kind == "local":
        trials, telemetry = _without_bytes(trials), _without_bytes(telemetry)
        notes = (*notes, SHARED_LOOPBACK)

    names = series_parameters(trials, facts.axes)
    series, row_series = assign_series(trials, names, facts.program.control)
    trials["series"] = pd.Series(row_series, index=trials.index, dtype=int)
    measured = trials[trials["status"].isin(MEASURED)].reset_index(drop=True)

    steady = steady_rows(epochs, facts.dilation)
    per_epoch = epoch_table(epochs[epochs["trial"].isin(list(measured["trial"]))])
    apart = [*facts.program.control, "variant"]
    controls = {one.index: other.index for one in series if (other := control_of(one, series, names, apart))}
    reached = choose_target(measured, per_epoch, {one.index for one in series if one.control}, target)
    numbers = measure(measured.join(added_rates(steady), on="trial"), per_epoch, reached, facts.program.epochs)
    numbers = add_ratios(numbers, controls, _measured_rates(steady, measured, manifest, facts), unlike=facts.unlike)
    accuracies = sorted({*facts.accuracies, *([] if target is None else [target])})
    energy = energy_of(
        *_power_frames(power, ranks), measured, per_epoch, epochs, dilation=facts.dilation, accuracies=accuracies
    )
    numbers = numbers.merge(energy.trials, on="trial", how="left")
    grouped = families(series, names, facts.policies)
    first = reached_table(per_epoch, accuracies)
    goals = goal_table(grouped, numbers, first)
    return Analysis(
        facts=facts,
        parameters=names,
        series=series,
        trials=numbers,
        points=aggregate(numbers),
        epochs=median_epochs(per_epoch, numbers),
        ranks=rank_table(epochs, numbers),
        steps=step_table(epochs, numbers),
        telemetry=telemetry_table(telemetry, numbers, facts.dilation),
        failures=trials[~trials["status"].isin(MEASURED)].reset_index(drop=True),
        suspects=trials[trials["status"] == "suspect"].reset_index(drop=True),
        families=grouped,
        reached=first,
        goals=goals,
        policy_goals=goal_table(by_policy(grouped), numbers, first),
        headlines=headline_accuracies(goals, target),
        settings=_settings(trials, facts),
        cpu_models=tuple(sorted({model for cell in measured[wire.CPU_MODEL] for model in cell.split()}))
        or tuple(filter(None, [facts.cpu_model])),
        target=reached,
        notes=(
            *notes,
            *partial_notes(trials, epochs, facts),
            *together_notes(steady, numbers),
            *(() if energy.is_known else energy.notes),
        ),
        energy=energy,
    )


def _power_frames(power: pd.DataFrame | None, ranks: pd.DataFrame | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    none = pd.DataFrame()
    return (
        _with_columns(none if power is None else power, ("watts",), POWER_TEXTS),
        _with_columns(none if ranks is None else ranks, (), ("trial", "node")),
    )


def _trials(trials: pd.DataFrame, program: Program) -> pd.DataFrame:
    """The rows of trials.csv that count, numbers as numbers; `workers` are the ranks of all roles that finish."""
    new = {old: name for old, name in _RENAMED.items() if name not in trials}
    finishing = tuple(map(count_column, program.finishing))
    found = _with_columns(
        trials.rename(columns=new),
        (*_TRIAL_NUMBERS, *finishing),
        ("trial", "status", "failure", "left_out", "suspect_because", wire.CPU_MODEL),
    )
    found["workers"] = found[list(finishing)].sum(axis="columns", min_count=1)
    found = found[found["nodes"].notna()].drop_duplicates("trial", keep="last").reset_index(drop=True)
    found["nodes"] = found["nodes"].astype(int)
    return found


def _settings(trials: pd.DataFrame, facts: Facts) -> dict[int, dict[str, str]]:
    """By series every parameter of its first trial, as text, and its variant."""
    asked = [name for name in (*facts.settings, *(facts.axes or {}), "variant") if name in trials and name != "nodes"]
    first = trials.drop_duplicates("series")
    return {int(row["series"]): {name: show_value(row[name]) for name in asked} for _, row in first.iterrows()}


def _measured_rates(
    steady: pd.DataFrame, measured: pd.DataFrame, manifest: Mapping[str, Any], facts: Facts
) -> pd.Series:
    """By trial, what its nodes do independently by the rates that the run used; of trials that train what was measured."""
    rates = mapping(manifest.get("rates"))
    about, nodes = mapping(rates.get("about")), mapping(rates.get("nodes"))
    if not nodes or "node" not in steady:
        return pd.Series(dtype=float)
    asked = {name: about[name] for name in facts.program.subject if name in about and name in measured}
    alike = measured
    for name, value in asked.items():
        alike = alike[[show_value(each) == show_value(value) for each in alike[name]]]
    if "variant" in alike:
        alike = alike[~alike["variant"].isin(facts.other_programs)]
    named = {str(node): mapping(rate) for node, rate in nodes.items()}
    return rates_added_up(steady[steady["trial"].isin(list(alike["trial"]))], named)


def _without_bytes(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(bytes_sent=np.nan, bytes_received=np.nan)


def _with_columns(frame: pd.DataFrame, numbers: tuple[str, ...], texts: tuple[str, ...]) -> pd.DataFrame:
    out = frame.copy()
    for name in numbers:
        out[name] = pd.to_numeric(out[name], errors="coerce").astype(float) if name in out else np.nan
    for name in texts:
        out[name] = out[name].fillna("").astype(str) if name in out else pd.Series("", out.index, dtype=str)
    return out
