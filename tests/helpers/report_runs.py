"""Small hand-made runs for the tests of the report; none of these numbers was measured."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis.analysis import Analysis, analyse
from harness.results.rows import timestamp
from harness.results.run_paths import RunPaths

BATCH = 10


def trial(nodes: int, repeat: int = 1, **changes: Any) -> dict[str, Any]:
    """A trial of two epochs: 1 node trains 80 s and validates 20 s, n nodes an n-th of it and wait (n-1) s an epoch."""
    wait = 2.0 * (nodes - 1)
    train, validation = 80.0 / nodes + wait, 20.0 / nodes
    return {
        "trial": f"n{nodes:02d}-r{repeat}",
        "status": "ok",
        "nodes": nodes,
        "repeat": repeat,
        "workers": nodes,
        "servers": nodes,
        "kvstore": "dist_sync",
        "batch_size": BATCH,
        "epochs": 2,
        "seed": repeat - 1,
        "attempts": 1,
        "started_at": "2031-01-01T00:00:00.000Z",
        "startup_seconds": 5.0,
        "train_seconds": train,
        "validation_seconds": validation,
        "total_seconds": 5.0 + train + validation,
        "images": 800,
        "images_per_train_second": 800 / train,
        "wait_seconds": wait,
        "bytes_sent": 4000 * (nodes - 1),
        "bytes_received": 4000 * (nodes - 1),
        "train_accuracy": 0.99,
        "validation_accuracy": 0.98,
        "best_validation_accuracy": 0.98,
        "failure": "",
        **changes,
    }


def phases_of(train: float, wait: float) -> dict[str, float]:
    """Phases of an epoch: a tenth of what is not waiting is nobody's, backward takes twice as long as forward."""
    own = (train - wait) / 10
    return {
        **{"data_seconds": 0.5 * own, "forward_seconds": 2 * own, "backward_seconds": 4 * own, "push_seconds": own},
        **{"wait_seconds": wait, "pull_seconds": own, "update_seconds": 0.5 * own},
    }


def epochs_of(row: dict[str, Any], accuracies: tuple[float, ...] = (0.90, 0.98)) -> list[dict[str, Any]]:
    """The rows of epochs.csv that belong to a trial's row: equal epochs, rank 0 a little faster.

    400 images each, unless the trial's rate says otherwise.
    """
    count, nodes = len(accuracies), row["nodes"]
    images = (row["images_per_train_second"] or 0) * (row["train_seconds"] or 0) / count / nodes
    return [
        {
            "trial": row["trial"],
            "nodes": nodes,
            "repeat": row["repeat"],
            "rank": rank,
            "node": f"pi{rank + 1}",
            "time": "2031-01-01T00:00:00.000Z",
            "epoch": epoch,
            "steps": 400 // BATCH // nodes,
            "images": images,
            "train_seconds": row["train_seconds"] / count - (0.5 if rank == 0 and nodes > 1 else 0.0),
            "validation_seconds": row["validation_seconds"] / count,
            **phases_of(row["train_seconds"] / count, row["wait_seconds"] / count),
            "train_accuracy": accuracy + 0.01,
            "validation_accuracy": accuracy,
        }
        for epoch, accuracy in enumerate(accuracies, start=1)
        for rank in range(nodes)
    ]


def telemetry_of(row: dict[str, Any], throttled: str = "0x0") -> list[dict[str, Any]]:
    """Two samples a node, 10 s apart; node k sends k MB in between."""
    return [
        {
            "trial": row["trial"],
            "node": f"pi{node}",
            "time": f"2031-01-01T00:00:{10 * sample:02d}.000Z",
            "cpu_percent": 80.0 + 10 * sample,
            "memory_used_bytes": 200_000_000,
            "load_1m": 1.0,
            "temperature_celsius": 50.0 + sample,
            "throttled": throttled,
            "bytes_sent": sample * node * 1_000_000,
            "bytes_received": sample * 1_000_000,
        }
        for node in range(1, row["nodes"] + 1)
        for sample in (0, 1)
    ]


def manifest(nodes: list[int], kind: str = "virtual", **axes: list[Any]) -> dict[str, Any]:
    """A manifest as the harness writes it, cut to what the report reads."""
    return {
        "started_at": "2031-01-01T00:00:00.000Z",
        "command": "harness sweep experiments/example.yaml",
        "experiment": {
            "name": "example",
            "description": "",
            "program": "train.py",
            "axes": {"nodes": nodes, "repeats": 1, **axes},
        },
        "seeds": [0],
        "git": {"revision": "0123abc", "changed": True},
        "cluster": {
            "kind": kind,
            "nodes": [{"name": "pi1", "machine": "aarch64", "cores": 4, "runtime": {"mxnet": "1.9.1"}}] * 3,
            "virtual": {
                "options": {"link": "100mbit", "profile": "pi3"},
                "link": {"bits_per_second": 100_000_000},
                "quota": {"fraction": 0.15},
            },
        },
        "versions": {"harness": "0.1.0"},
    }


def example(*rows: dict[str, Any], target: float | None = None, **axes: list[Any]) -> Analysis:
    """The analysis of some trials with their epochs and telemetry."""
    measured = [row for row in rows if row["status"] != "failed"]
    return analyse(
        pd.DataFrame(list(rows)),
        pd.DataFrame([epoch for row in measured for epoch in epochs_of(row)]),
        pd.DataFrame([sample for row in measured for sample in telemetry_of(row)]),
        manifest(sorted({row["nodes"] for row in rows}), **axes),
        target=target,
    )


def power_of(
    names: list[str], seconds: float, watts: float = 4.0, every: float = 5.0, **more: Any
) -> list[dict[str, Any]]:
    """Samples of meters, from 10 s before the first trial begins (idle: 1 W) on."""
    return [
        {
            "time": moment(at), "node": name, "part": "node", "watts": watts if at >= 0 else 1.0,
            "state": "busy" if at >= 0 else "idle", "source": "meter", "origin": "shelly2://10.0.0.7/0", **more,
        }
        for at in np.arange(-10, seconds, every)
        for name in names
    ]  # fmt: skip


def moment(seconds: float) -> str:
    """A time after that when all trials begin, as the harness writes it."""
    return timestamp(datetime(2031, 1, 1, tzinfo=UTC) + timedelta(seconds=float(seconds)))


def write_run(
    root: Path,
    *rows: dict[str, Any],
    telemetry: bool = True,
    power: list[dict[str, Any]] | None = None,
    **axes: list[Any],
) -> RunPaths:
    """A run directory with these trials."""
    root.mkdir(parents=True, exist_ok=True)
    paths = RunPaths(root)
    measured = [row for row in rows if row["status"] != "failed"]
    pd.DataFrame(list(rows)).to_csv(paths.trials, index=False)
    pd.DataFrame([epoch for row in measured for epoch in epochs_of(row)]).to_csv(paths.epochs, index=False)
    if telemetry:
        pd.DataFrame([sample for row in measured for sample in telemetry_of(row)]).to_csv(paths.telemetry, index=False)
    if power is not None:
        pd.DataFrame(power).to_csv(paths.power, index=False)
    paths.manifest.write_text(json.dumps(manifest(sorted({row["nodes"] for row in rows}), **axes)), encoding="utf-8")
    return paths


def timed_run(root: Path, power: list[dict[str, Any]], *rows: dict[str, Any]) -> RunPaths:
    """Trials at the same time, on one and on two nodes where none are given, whose epochs have their times."""
    paths = write_run(root, *(rows or (trial(1), trial(2))), power=power)
    epochs = pd.read_csv(paths.epochs)
    seconds = epochs["train_seconds"] + epochs["validation_seconds"]
    slowest = seconds.groupby([epochs["trial"], epochs["epoch"]]).transform("max")
    epochs["time"] = [moment(5 + at) for at in slowest * epochs["epoch"]]
    epochs.to_csv(paths.epochs, index=False)
    return paths
