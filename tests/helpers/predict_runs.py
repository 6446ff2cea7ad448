"""Runs made by the cost model itself, with or without noise; none of these numbers was measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from report_runs import manifest

from harness.predict.model import Conditions, Point, Traffic, step_seconds
from harness.results.run_paths import RunPaths

LINK = 100e6
# Seconds an image, a step, a step of several nodes, a step and further node; what of the wire's time shows, and hides.
COSTS = (1.0e-3, 0.0, 8e-3, 1.5e-3, 0.6, 0.0)
TRAFFIC = Traffic(even_bytes=250e3, whole_bytes=10e3)
STEPS = 50


def points(
    sizes: Iterable[int],
    *,
    costs: Sequence[float] = COSTS,
    traffic: Traffic = TRAFFIC,
    link: float = LINK,
    batch: int = 64,
    noise: float = 0.0,
    seed: int = 0,
) -> list[Point]:
    """One point a size, its step off by a normal factor of so much."""
    random = np.random.default_rng(seed)
    made = []
    for size in sizes:
        nodes = np.array([float(size)])
        exact = step_seconds(np.array(costs)[:, None], nodes, traffic, Conditions(batch, link))[0, 0]
        made.append(
            Point(
                nodes=size,
                batch=batch,
                step_seconds=float(exact * np.exp(noise * random.standard_normal())),
                own_seconds=costs[0] * batch + costs[1],
                busiest_bytes=float(traffic.busiest_bytes(nodes)[0]) or None,
                shards=int(traffic.shards(nodes)[0]),
            )
        )
    return made


def write_run(root: Path, series: dict[str, list[Point]], kind: str = "virtual", **facts: Any) -> RunPaths:
    """A run directory whose trials are these points, a kvstore a series; `facts` replace columns of trials.csv."""
    root.mkdir(parents=True, exist_ok=True)
    trials, epochs = [], []
    for store, ones in series.items():
        for point in ones:
            trial = f"n{point.nodes:02d}-{store}-{point.batch:.0f}"
            row = {"trial": trial, "status": "ok", "nodes": point.nodes, "repeat": 1, "workers": point.nodes}
            row |= {
                "servers": 0 if store == "allreduce" else point.shards,
                "kvstore": store,
                "batch_size": point.batch,
                "epochs": 1,
                "seed": 0,
            }
            train = point.step_seconds * STEPS
            wait = train - (point.own_seconds or train) * STEPS
            row |= {"train_seconds": train, "validation_seconds": 1.0, "total_seconds": train + 9, "wait_seconds": wait}
            trials.append({**row, "images": STEPS * point.batch * point.nodes, **facts})
            for rank in range(point.nodes):
                moved = (point.busiest_bytes or 0.0) * STEPS * (1.0 if rank == 0 else 0.9)
                row = {"trial": trial, "nodes": point.nodes, "repeat": 1, "rank": rank, "node": f"pi{rank}", "epoch": 1}
                row |= {"steps": STEPS, "images": STEPS * point.batch, "train_seconds": train, "wait_seconds": wait}
                epochs.append({**row, "bytes_sent": moved, "bytes_received": moved, "validation_accuracy": 0.98})
    paths = RunPaths(root)
    pd.DataFrame(trials).to_csv(paths.trials, index=False)
    pd.DataFrame(epochs).to_csv(paths.epochs, index=False)
    sizes = sorted({point.nodes for ones in series.values() for point in ones})
    axes = {"kvstore": list(series), "batch_size": sorted({point.batch for ones in series.values() for point in ones})}
    paths.manifest.write_text(json.dumps(manifest(sizes, kind, **axes)), encoding="utf-8")
    return paths
