"""Figures out of a run directory. Pure but for reading it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from harness.analysis.rates import added_rates, steady_rows
from harness.contract.wire import PHASE_KEYS, PHASES
from harness.results.run_paths import RunPaths


class IncomparableError(Exception):
    """A trial gives no figure; the message says why."""


@dataclass(frozen=True)
class Rate:
    """What the workers of one trial did while all of them trained, the first epoch left out."""

    images_per_second: float
    """Of all workers together."""
    step_seconds: float
    cpu_seconds: float
    """Of one step on one worker."""
    bytes_sent: float
    """By one node in one step."""
    packets: float
    """Sent and received by one node in one step, as its kernel counts."""
    phases: Mapping[str, float]
    """Seconds of one step on one worker, by phase; those that the program tells."""
    server_cpu_seconds: float | None = None
    """Of one step on one server; None where there is none."""


def rate_of(epochs: pd.DataFrame, dilation: float = 1.0) -> Rate:
    """The rate of one trial from its rows of epochs.csv, on a cluster whose time is dilated so much.

    It is the report's (harness/analysis/rates.py), of epochs in which all workers trained. Raises IncomparableError where a
    worker has no such epoch.
    """
    counted = steady_rows(epochs.assign(trial="this one"), dilation)
    if not counted["together"].all():
        raise IncomparableError("its workers did not train at the same time: give it more epochs")
    sums = counted.groupby("rank")[["train_seconds", "steps"]].sum()
    steps = counted["steps"].sum()
    return Rate(
        images_per_second=float(added_rates(counted)["steady_rate"].iloc[0]),
        step_seconds=float((sums["train_seconds"] / sums["steps"]).mean()),
        cpu_seconds=float(counted["cpu_seconds"].sum() / steps),
        bytes_sent=float(counted["bytes_sent"].sum() / steps),
        packets=float((counted["packets_sent"] + counted["packets_received"]).sum() / steps),
        phases={
            phase: float(counted[key].sum() / steps)
            for phase, key in zip(PHASES, PHASE_KEYS, strict=True)
            if not counted[key].isna().any()
        },
    )


def server_cpu_seconds(ranks: pd.DataFrame, steps: int) -> float | None:
    """Processor time of a step on one server of a trial, from its rows of ranks.csv; None where it has no servers.

    A rank's time holds its start. The scheduler starts the same and then does next to nothing: its time is taken off.
    """
    by_role = ranks.groupby("role")["cpu_seconds"].mean()
    if "server" not in by_role or "scheduler" not in by_role:
        return None
    return max(0.0, float(by_role["server"] - by_role["scheduler"])) / steps


@dataclass(frozen=True)
class Series:
    """The trials of one variant, by repeat; `faults` says why a repeat has none."""

    rates: dict[int, Rate]
    faults: tuple[str, ...]

    @property
    def images_per_second(self) -> dict[int, float]:
        """By repeat."""
        return {repeat: rate.images_per_second for repeat, rate in self.rates.items()}


def read_series(run: Path) -> dict[str, Series]:
    """Every variant of a run with one cluster size."""
    paths = RunPaths(run)
    trials, epochs, ranks = (pd.read_csv(path) for path in (paths.trials, paths.epochs, paths.ranks))
    dilation = json.loads(paths.manifest.read_text(encoding="utf-8"))["cluster"]["time_dilation"]
    found: dict[str, Series] = {}
    for variant, rows in trials.groupby("variant", sort=False):
        rates: dict[int, Rate] = {}
        faults: list[str] = []
        for _, row in rows.iterrows():
            try:
                if row["status"] == "failed":
                    raise IncomparableError(f"failed: {row['failure']}")
                own = epochs[epochs["trial"] == row["trial"]]
                steps = int(own[own["rank"] == own["rank"].min()]["steps"].sum())
                served = server_cpu_seconds(ranks[ranks["trial"] == row["trial"]], steps)
                rates[int(row["repeat"])] = replace(rate_of(own, dilation), server_cpu_seconds=served)
            except IncomparableError as fault:
                faults.append(str(fault))
        found[str(variant)] = Series(rates, tuple(faults))
    return found


@dataclass(frozen=True)
class Start:
    """How one sweep of one trial began; seconds from the start of the harness's process."""

    manifest: float
    """Nodes connected, looked at and held, the run directory made."""
    launched: float
    """The first trial handed to its nodes."""
    programs: float
    """The last worker's program began, as it says itself."""
    ready: float
    """The last worker was about to train."""
    slowest: float
    """The longest that any worker took for itself: imports, data, store."""

    @property
    def overhead(self) -> float:
        """What the harness added to the slowest worker's own start."""
        return self.ready - self.slowest


def start_of(run: Path, began: float) -> Start:
    """How the run's only trial began, where the harness was started at `began` (Unix time)."""
    paths = RunPaths(run)
    trial = pd.read_csv(paths.trials).iloc[0]
    if trial["status"] == "failed":
        raise IncomparableError(f"failed: {trial['failure']}")
    ready = [event for event in _events(paths, str(trial["trial"])) if event["event"] == "ready"]
    own = [event["import_seconds"] + event["data_seconds"] + event["store_seconds"] for event in ready]
    at = [_seconds(event["time"]) - began for event in ready]
    return Start(
        manifest=paths.manifest.stat().st_mtime - began,
        launched=_seconds(str(trial["started_at"])) - began,
        programs=max(moment - seconds for moment, seconds in zip(at, own, strict=True)),
        ready=max(at),
        slowest=max(own),
    )


def _events(paths: RunPaths, trial: str) -> list[dict[str, Any]]:
    text = (paths.trial(trial) / "events.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
