"""A run with all that can be exported, for the tests of exports; nothing of it was measured."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from report_runs import power_of, trial, write_run
from typer.testing import CliRunner, Result

from harness.cli.results.export import app
from harness.results.run_paths import RunPaths

NAME = "20310101T000000Z-1"
RANK = {
    "role": "worker", "reason": "exit", "exit_code": 0, "started_seconds": 0.5, "ended_seconds": 60, "cpu_seconds": 1.25,
    "max_rss_bytes": 1 << 40, "context_switches": 7, "cpu_model": "", "cpu_seconds_behind": "", "cpu_pressure": "",
}  # fmt: skip
PARAMETERS = {
    "kvstore": {"type": "choice", "help": "How workers exchange gradients."},
    "batch_size": {"type": "int", "help": "Images of one step on one worker."},
    "seed": {"type": "int", "help": "Where chance begins."},
}


def write_whole_run(root: Path) -> RunPaths:
    """Trials of one and of two nodes that are ok, one of two nodes that failed; with ranks, a log and a report."""
    failed = {"startup_seconds": None, "train_seconds": None, "validation_accuracy": None, "images": None}
    spent = {"worker_cpu_seconds": 2.5, "server_cpu_seconds": 0.5}
    rows = [
        trial(1, **spent),
        trial(2, **spent),
        trial(2, 2, status="failed", failure="worker1 on pi2: exit code 1", **spent, **failed),
    ]
    paths = write_run(root / "example" / NAME, *rows)
    ranks = [
        {
            "trial": row["trial"],
            "nodes": row["nodes"],
            "repeat": row["repeat"],
            "rank": rank,
            "node": f"pi{rank + 1}",
            **RANK,
        }
        for row in rows
        for rank in range(row["nodes"])
    ]
    pd.DataFrame(ranks).to_csv(paths.ranks, index=False)
    pd.DataFrame(power_of(["pi1", "pi2"], 60.0)).to_csv(paths.power, index=False)
    manifest = json.loads(paths.manifest.read_text(encoding="utf-8"))
    manifest["programs"] = {"train.py": {"description": "Trains.", "parameters": PARAMETERS, "roles": {"worker": {}}}}
    manifest["experiment"]["parameters"] = {"kvstore": "dist_sync", "batch_size": 10, "limit": None}
    manifest["cluster"]["nodes"] = [
        {"name": f"pi{number}", "machine": "aarch64", "cores": 4, "runtime": {"mxnet": "1.9.1"}} for number in (1, 2)
    ]
    paths.manifest.write_text(json.dumps(manifest), encoding="utf-8")
    log = paths.rank_log("n02-r1", "worker0")
    log.parent.mkdir(parents=True)
    log.write_text("said\n", encoding="utf-8")
    paths.report.write_text("<html></html>\n", encoding="utf-8")
    paths.lock.touch()
    return paths


def exported(run: Path, to: str, *options: str | Path) -> Result:
    """What the verb says."""
    return CliRunner().invoke(app, [str(run), "--to", to, *map(str, options)])


def rows_of(file: Path | bytes) -> list[dict[str, str]]:
    """The cells of a CSV file."""
    data = file if isinstance(file, bytes) else file.read_bytes()
    return list(csv.DictReader(io.StringIO(data.decode())))


def is_same(cell: str, value: Any) -> bool:
    """Whether a value is what a cell of a CSV file says."""
    if value is None or cell == "":
        return value is None and cell == ""
    if isinstance(value, bool):
        return cell == str(value)
    if isinstance(value, datetime):
        return value == datetime.fromisoformat(cell)
    return cell == value if isinstance(value, str) else float(cell) == value
