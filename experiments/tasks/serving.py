"""The ranks that serve: Dask's scheduler, and a worker on every node. Encryption and addresses come from their environment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import Executor
from importlib import import_module
from pathlib import Path
from typing import Any

from contract import wire
from training import trial
from training.errors import ProgramError
from training.reporting.events import emit

from .reports import Measured, alive, say_epoch

# An idle worker costs less than 1% of a slow core: nothing that looks often, and no second process that guards it.
_QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    # It takes away the copies that `scatter` makes.
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.worker-ttl": "60s",
    "distributed.comm.timeouts.connect": "60s",
}


def configure() -> None:
    """Settings of every rank."""
    import dask

    dask.config.set({**_QUIET, "temporary-directory": str(Path.cwd())})  # which is the rank's own


def cores(environment: Mapping[str, str] = os.environ) -> int:
    """The cores of this node, as the harness says; of the machine without it."""
    return int(environment.get(wire.CORES) or os.cpu_count() or 1)


def schedule(preload: str, environment: Mapping[str, str] = os.environ) -> None:
    """Be the scheduler until stopped. Raises ProgramError where its port is taken.

    It unpickles what clients send: a module that tasks are of, `preload`, is better there before somebody waits for it.
    """
    from distributed import Scheduler

    if preload:
        import_module(preload)
    host, port = _address(environment["DASK_SCHEDULER_ADDRESS"])

    async def serve() -> None:
        try:
            scheduler = await Scheduler(host=host, port=port, protocol="tls", dashboard_address="127.0.0.1:0")
        except (OSError, RuntimeError) as error:  # distributed wraps the one in the other
            cause = error.__cause__ or error
            raise ProgramError(
                f"the scheduler cannot listen at {host}:{port}: {cause}", "another cluster_port in the inventory"
            ) from None
        emit(wire.READY, rank=trial.rank(environment))
        await scheduler.finished()

    asyncio.run(serve())


def work(executor: Executor | None, environment: Mapping[str, str] = os.environ) -> None:
    """Be a worker until stopped; tasks run in `executor`, in threads without one."""
    from distributed import Worker

    memory = environment.get(wire.MEMORY_BYTES)

    async def serve() -> None:
        worker = await Worker(
            environment["DASK_SCHEDULER_ADDRESS"],
            name=environment.get("DASK_WORKER_NAME"),
            host=environment.get(wire.NODE_ADDRESS),
            nthreads=cores(environment),
            memory_limit=int(memory) if memory else 0,
            executor=executor,
            dashboard_address="127.0.0.1:0",
        )
        worker.measured = Measured()
        emit(wire.READY, rank=trial.rank(environment))
        await worker.finished()

    asyncio.run(serve())


def begin_part(dask_worker: Any) -> None:
    """In a worker: what it costs is counted from here."""
    dask_worker.measured = Measured()


def end_part(items: Mapping[str, int] | None, sent: Mapping[str, int] | None, dask_worker: Any) -> None:
    """In a worker: print its row.

    `items` says by address how many of the result's items are its, `sent` how many bytes; None where nobody knows.
    """
    values = dask_worker.measured.done()
    if sent is not None:
        values["result_bytes"] = sent.get(dask_worker.address, 0)
    say_epoch(trial.rank() + 1, None if items is None else items.get(dask_worker.address, 0), values)


def connected() -> Any:
    """A client of the trial's scheduler."""
    from distributed import Client

    return Client(os.environ["DASK_SCHEDULER_ADDRESS"], direct_to_workers=True, set_as_default=True)


def wait_for_workers(client: Any) -> None:
    """Wait until the trial's workers are there, so long at most; who comes later takes part from then on.

    Raises ProgramError where none came.
    """
    import dask

    wanted = int(dask.config.get("harness.workers", 1))
    try:
        with alive("waiting for workers"):
            client.wait_for_workers(wanted, timeout=_WORKERS_SECONDS)
    except TimeoutError:
        there = len(client.nthreads())
        if not there:
            raise ProgramError(f"no worker came within {_WORKERS_SECONDS} s", "look into the workers' logs") from None
        print(f"{wanted - there} of {wanted} workers are not there yet; the others begin", flush=True)


_WORKERS_SECONDS = 240
"""Slow boards import scikit-learn for minutes."""


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.removeprefix("tls://").rpartition(":")
    return host, int(port)
