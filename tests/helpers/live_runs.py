"""A run directory as a sweep writes it, moment by moment, for the tests of the live page; nothing of it was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness.contract.columns import POWER_COLUMNS
from harness.results.disk import Table
from harness.results.opening import make_run
from harness.results.rows import timestamp
from harness.results.run_directory import RunDirectory
from harness.results.run_paths import RunPaths

TRIALS = ["n01-r1", "n02-r1", "n01-r2", "n02-r2"]
MANIFEST: dict[str, Any] = {
    "layout": 2,
    "started_at": "2031-01-01T00:00:00.000Z",
    "experiment": {
        "name": "small",
        "program": "p.py",
        "parameters": {"rounds": 4, "batch": 10},
        "axes": {"nodes": [1, 2]},
    },
    "programs": {"p.py": {"epochs": "rounds", "batch": "batch"}},
    "trials": TRIALS,
    "cluster": {"kind": "virtual", "time_dilation": 1, "nodes": [{"name": "pi1"}, {"name": "pi2"}]},
}


@dataclass
class Writer:
    """What a sweep would write next; moments are seconds from now, mostly negative."""

    paths: RunPaths
    directory: RunDirectory

    def event(self, trial: str, seconds: float, kind: str, rank: int = 0, **values: object) -> None:
        moment = timestamp(datetime.now(UTC) + timedelta(seconds=seconds))
        record = {"time": moment, "role": f"worker{rank}", "event": kind, "rank": rank, **values}
        self.directory.event(trial, record)

    def epoch(self, trial: str, epoch: int, rank: int = 0, **values: object) -> None:
        row = {
            "trial": trial,
            "nodes": int(trial[1:3]),
            "repeat": 1,
            "rank": rank,
            "node": f"pi{rank + 1}",
            "epoch": epoch,
        }
        measured = {"steps": 20, "images": 200, "train_seconds": 2.0, "validation_accuracy": 0.5 + epoch / 10}
        self.directory.epoch({**row, **measured, **values})  # type: ignore[arg-type]

    def sample(self, trial: str, node: str, seconds: float, **values: object) -> None:
        moment = timestamp(datetime.now(UTC) + timedelta(seconds=seconds))
        self.directory.telemetry({"trial": trial, "node": node, "time": moment, **values})  # type: ignore[arg-type]

    def power(self, name: str, seconds: float, watts: float | None, **values: object) -> None:
        moment = timestamp(datetime.now(UTC) + timedelta(seconds=seconds))
        row = {"part": "node", "state": "busy", "source": "meter", "origin": "", **values}
        table = Table(self.paths.power, POWER_COLUMNS)
        if not self.paths.power.exists():
            table.rewrite([])
        table.append({"time": moment, "node": name, "watts": watts, **row})  # type: ignore[dict-item]

    def finish(self, trial: str, status: str = "ok", **values: object) -> None:
        row = {
            "trial": trial, "status": status, "nodes": int(trial[1:3]), "total_seconds": 8.0, "startup_seconds": 1.0,
            "images_per_train_second": 100.0, "validation_accuracy": 0.9, **values,
        }  # fmt: skip
        self.directory.finish(trial, row, {})  # type: ignore[arg-type]


@contextmanager
def run_being_written(root: Path, **manifest: object) -> Iterator[Writer]:
    """A new run that a harness holds while the block lasts."""
    paths = RunPaths(root / "small" / "20310101T000000Z-1")
    make_run(paths, json.loads(json.dumps({**MANIFEST, **manifest})))
    with RunDirectory(paths, []) as directory:
        yield Writer(paths, directory)
