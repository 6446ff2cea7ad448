"""A trial by hand: scheduler, servers and workers of `experiments/programs/train.py` as processes on loopback."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.contract import wire

PROGRAM = Path(__file__).resolve().parents[2] / "experiments" / "programs" / "train.py"
LIMIT_SECONDS = 120

ENGINES = [pytest.param("mxnet", marks=pytest.mark.mxnet), "torch"]
"""Parameters of a test that is to run with each."""

Event = dict[str, Any]


@functools.cache
def runtime_python() -> str:
    """The interpreter that has MXNet; skips the test where the environment names none, fails it where that is broken."""
    python = os.environ.get("HARNESS_RUNTIME_PYTHON")
    if not python:
        pytest.skip("HARNESS_RUNTIME_PYTHON names no interpreter with MXNet")
    probe = "import mxnet.runtime as r; assert r.Features().is_enabled('DIST_KVSTORE')"
    found = subprocess.run([python, "-c", probe], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    if found.returncode:
        said = (found.stderr.strip() or "nothing was said").splitlines()[-1]
        pytest.fail(f"HARNESS_RUNTIME_PYTHON={python} has no MXNet with DIST_KVSTORE: {said}")
    return python


def python_of(engine: str) -> str:
    """The interpreter that has an engine; skips the test where there is none."""
    if engine == "mxnet":
        return runtime_python()
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed here; docs/how-to/pytorch.md says how nodes get it")
    return sys.executable


def start(arguments: Sequence[str], environment: Mapping[str, str], directory: Path) -> subprocess.Popen[str]:
    """Start the program; one thread each, as many share this machine."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DMLC_", "HARNESS_"))}
    return subprocess.Popen(
        [python_of("torch" if "--engine=torch" in arguments else "mxnet"), str(PROGRAM), *arguments],
        env={**own, "OMP_NUM_THREADS": "1", **environment},
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


Rank = subprocess.Popen[str]


@contextlib.contextmanager
def trial(
    workers: int, servers: int, arguments: Sequence[str], directory: Path, **environment: str
) -> Iterator[list[Rank]]:
    """A trial's processes, running: scheduler and servers, then workers. Whatever still runs at the end is killed.

    `{rank}` in a value of the environment is the worker's own.
    """
    port = str(_free_port())
    common = {
        wire.ROOT_ADDRESS: "127.0.0.1",
        wire.ROOT_PORT: port,
        wire.WORLD_SIZE: str(workers),
        wire.NODE_ADDRESS: "127.0.0.1",
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": port,
        "DMLC_NUM_WORKER": str(workers),
        "DMLC_NUM_SERVER": str(servers),
        "DMLC_NODE_HOST": "127.0.0.1",
        **environment,
    }
    roles = ["scheduler"] * bool(servers) + ["server"] * servers
    ranks = [start(arguments, {**common, "DMLC_ROLE": role}, directory) for role in roles]
    ranks += [
        start(
            arguments,
            {**_of_rank(common, rank), "DMLC_ROLE": "worker", wire.RANK: str(rank)},
            directory,
        )
        for rank in range(workers)
    ]
    try:
        yield ranks
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()


def _of_rank(environment: Mapping[str, str], rank: int) -> dict[str, str]:
    return {name: value.replace("{rank}", str(rank)) for name, value in environment.items()}


def run(workers: int, servers: int, arguments: Sequence[str], directory: Path, **environment: str) -> list[list[Event]]:
    """Run a trial to its end; every worker's events, by rank. The test fails with any process, or its limit."""
    with trial(workers, servers, arguments, directory, **environment) as ranks:
        outputs = [_finish(rank) for rank in ranks]
    assert all(events(output)[0]["event"] == wire.READY for output in outputs[:-workers])  # those that serve
    return sorted((events(output) for output in outputs[-workers:]), key=lambda mine: mine[0]["rank"])


def first_to_end(ranks: Sequence[Rank]) -> Rank:
    """Wait for any of the processes to end."""
    limit = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < limit:
        for rank in ranks:
            if rank.poll() is not None:
                return rank
        time.sleep(0.1)
    raise AssertionError(f"no process ended within {LIMIT_SECONDS} s")


def events(output: str) -> list[Event]:
    """The events among the lines of an output, but `progress`."""
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [event for event in found if event["event"] != "progress"]


def _finish(rank: subprocess.Popen[str]) -> str:
    output, errors = rank.communicate(timeout=LIMIT_SECONDS)
    assert rank.returncode == 0, errors
    return output


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
