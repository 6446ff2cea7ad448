"""Workers of `engine_job` that meet by the allreduce store, as processes on loopback."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import allreduce_job
import numpy as np
import training_job
from training.models import Architecture

from harness.contract import wire

JOB = Path(__file__).with_name("engine_job.py")


def trained(
    directory: Path, engine: str, entry: dict[str, Any], sizes: Sequence[int], own: dict[str, Any], **environment: str
) -> list[dict[str, np.ndarray[Any, Any]]]:
    """What every worker's run wrote, each with so many images of a step; `own` are the program's parameters."""
    port = allreduce_job.free_ports(len(sizes))
    common = {name: value for name, value in os.environ.items() if not name.startswith(("DMLC_", "HARNESS_"))}
    ranks = []
    for rank in range(len(sizes)):
        job = {
            "engine": engine, "entry": entry, "steps": 6, "seed": 3, "rate": 0.1, "sizes": sizes, "kvstore": "allreduce",
            "options": {"own": {"momentum": 0.9, "weight_decay": 0.01, **own}}, "out": str(directory / f"{rank}.npz"),
        }  # fmt: skip
        seat = {
            wire.RANK: str(rank), wire.WORLD_SIZE: str(len(sizes)), wire.ROOT_ADDRESS: "127.0.0.1",
            wire.ROOT_PORT: str(port), wire.NODE_ADDRESS: f"127.0.0.{rank + 1}", wire.TRIAL_TOKEN: allreduce_job.TOKEN,
        }  # fmt: skip
        settings = {**common, "OMP_NUM_THREADS": "1", **seat, **environment}
        ranks.append(
            subprocess.Popen(
                [training_job.python_of(engine), str(JOB), json.dumps(job)], env=settings, stderr=subprocess.PIPE
            )
        )
    for process in ranks:
        _, said = process.communicate(timeout=training_job.LIMIT_SECONDS)
        assert not process.returncode, said.decode()
    return [dict(np.load(directory / f"{rank}.npz")) for rank in range(len(sizes))]


def assert_one_model(
    model: Architecture, found: Sequence[Mapping[str, np.ndarray[Any, Any]]], alone: Mapping[str, np.ndarray[Any, Any]]
) -> None:
    """Workers that share layers have trained what one process has, and what they put together overtook nothing."""
    for worker in found:
        for name in model.shapes():
            np.testing.assert_array_equal(worker[name], found[0][name], err_msg=name)
            np.testing.assert_allclose(worker[name], alone[name], rtol=1e-3, atol=2e-5, err_msg=name)
        np.testing.assert_allclose(worker["scores"], alone["scores"], rtol=1e-3, atol=1e-4)
        assert worker["flat"].size < alone["flat"].size  # nobody has all values
        steps, all_of_it = worker["urgent"]
        assert steps == all_of_it > 0, "what is put together overtakes sums, which starve while it is long"
    np.testing.assert_allclose(sum(worker["losses"] for worker in found), alone["losses"], rtol=1e-3)
