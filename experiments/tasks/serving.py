"""The ranks that serve: Dask's scheduler, and a worker on every node. Encryption and addresses come from their environment."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from contract import wire
from training import trial
from training.errors import ProgramError
from training.reporting.events import emit

from .batches.crews import Processes, Work, rehearsed
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
    # So many tasks are in a performance report: it stays below what the harness keeps.
    "distributed.scheduler.dashboard.tasks.task-stream-length": 10_000,
}
_LOOPBACK = "127.0.0.1"
_DASHBOARD_PORTS = range(8787, 8797)
"""It takes the first that is free; Dask's own is the first."""
_TASKS_SECONDS = 2.0
"""Between two `tasks` events of a worker that has tasks."""


class PoolLostError(Exception):
    """A worker can do no more work."""


def configure() -> None:
    """Settings of every rank."""
    import dask

    # Pages of other sites that the user's browser has open may not read the dashboard.
    origins = [f"{host}:{port}" for host in (_LOOPBACK, "localhost") for port in _DASHBOARD_PORTS]
    dask.config.set(
        {
            **_QUIET,
            "temporary-directory": str(Path.cwd()),  # which is the rank's own
            "distributed.scheduler.dashboard.bokeh-application.allow_websocket_origin": origins,
        }
    )


def cores(environment: Mapping[str, str] = os.environ) -> int:
    """The cores of this node, as the harness says; of the machine without it."""
    return int(environment.get(wire.CORES) or os.cpu_count() or 1)


def schedule(preload: str, dashboard: bool, environment: Mapping[str, str] = os.environ) -> None:
    """Be the scheduler until stopped; with its web pages, at the node's loopback address alone, where `dashboard` says so.

    Raises ProgramError where its port is taken.

    It unpickles what clients send: a module that tasks are of, `preload`, is better there before somebody waits for it.
    """
    from distributed import Scheduler

    if preload:
        import_module(preload)
    host, port = scheduler_address(environment)
    pages = _free_port() if dashboard else 0

    async def serve() -> None:
        try:
            scheduler = await Scheduler(
                host=host,
                port=port,
                protocol="tls",
                dashboard=dashboard,
                dashboard_address=f"{_LOOPBACK}:{pages}",
            )
        except (OSError, RuntimeError) as error:  # distributed wraps the one in the other
            cause = error.__cause__ or error
            raise ProgramError(
                f"the scheduler cannot listen at {host}:{port}: {cause}", "another cluster_port in the inventory"
            ) from None
        if dashboard:
            emit(wire.DASHBOARD, rank=trial.rank(environment), port=scheduler.http_server.port, path="/status")
        else:
            scheduler.http_server.stop()  # distributed always has one
        emit(wire.READY, rank=trial.rank(environment))
        await scheduler.finished()

    asyncio.run(serve())


def work(executor: Processes | None, pool: Executor | None = None, environment: Mapping[str, str] = os.environ) -> None:
    """Be a worker until stopped.

    Args:
        executor: what tasks run in, all of them; threads without one.
        pool: what tasks may give work to, as `crews.together` does.
        environment: the rank's.

    Raises PoolLostError where one of their processes was killed: nobody starts it again, so that what kills it every
    time does not go on for ever.
    """
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
            dashboard=False,
            dashboard_address=f"{_LOOPBACK}:0",
        )
        worker.http_server.stop()
        worker.measured, worker.pool = Measured(), pool
        broken = asyncio.Event()
        loop = asyncio.get_running_loop()
        for processes in (executor, pool):
            if isinstance(processes, Processes):
                processes.on_broken = partial(loop.call_soon_threadsafe, broken.set)
        emit(wire.READY, rank=trial.rank(environment))
        tasks = _Tasks(worker)
        saying, *ends = map(asyncio.ensure_future, (tasks.say_often(), worker.finished(), broken.wait()))
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        saying.cancel()
        tasks.say()
        if broken.is_set():
            raise PoolLostError("one of its processes was killed, as the kernel does where memory runs out")

    asyncio.run(serve())


class _Tasks:
    """`tasks` events of a Dask worker, where there is something new to say."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._said: tuple[int, ...] = (0, 0, 0)

    def say(self) -> None:
        """Say how it stands now."""
        state = self._worker.state
        now = (
            state.executed_count,
            state.executing_count + len(state.ready) + len(state.constrained),
            self._worker.transfer_outgoing_bytes_total,
        )
        if now != self._said:
            self._said = now
            emit(wire.TASKS, rank=trial.rank(), **dict(zip(wire.TASK_KEYS, now, strict=True)))

    async def say_often(self) -> None:
        """Say it now and then, until this is cancelled."""
        while True:
            await asyncio.sleep(_TASKS_SECONDS)
            self.say()


async def begin_part(work: Work, items: int, dask_worker: Any) -> float | None:
    """In a worker: what it costs is counted from here on.

    Returns the seconds that an item of `work` takes on one of its cores; None where it has no pool, and where `items`, that
    each core does to find out, is 0.
    """
    pool: Executor | None = dask_worker.pool
    seconds = await asyncio.to_thread(rehearsed, pool, dask_worker.state.nthreads, work, items) if pool else None
    dask_worker.measured = Measured()
    return seconds


def end_part(seconds: float, items: Mapping[str, int] | None, sent: Mapping[str, int] | None, dask_worker: Any) -> None:
    """In a worker: print its row.

    Args:
        seconds: what the work took, by the driver: a worker hears of its end later than it was.
        items: by address, how many of the result's items are its; None where nobody knows.
        sent: by address, how many bytes of results it sent; None where nobody knows.
        dask_worker: whose row it is.
    """
    values = dask_worker.measured.done() | {"train_seconds": seconds}
    if sent is not None:
        values["result_bytes"] = sent.get(dask_worker.address, 0)
    say_epoch(trial.rank() + 1, None if items is None else items.get(dask_worker.address, 0), values)


@contextmanager
def reported(wanted: bool) -> Iterator[None]:
    """Where it is wanted, leave Dask's report of all tasks in the working directory. No report is no fault of the work."""
    if not wanted:
        yield
        return
    from distributed import performance_report

    report = performance_report(filename=REPORT_FILE, mode="inline")  # a file that needs no network
    report.__enter__()
    yield
    try:
        with alive("writing the report of all tasks"):
            report.__exit__(None, None, None)
    except Exception as error:
        print(f"there is no {REPORT_FILE}: {type(error).__name__}: {error}", flush=True)


REPORT_FILE = "performance_report.html"


def connected() -> Any:
    """A client of the trial's scheduler."""
    from distributed import Client

    return Client(os.environ["DASK_SCHEDULER_ADDRESS"], direct_to_workers=True, set_as_default=True)


def wait_for_workers(client: Any) -> None:
    """Wait until the trial's workers are there, so long at most; who comes later takes part from then on.

    Raises ProgramError where none came.
    """
    wanted = workers_wanted()
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


def _free_port() -> int:
    """A port of the dashboard's that nobody listens at. Raises ProgramError where there is none."""
    for port in _DASHBOARD_PORTS:
        with suppress(OSError), socket.create_server((_LOOPBACK, port)):
            return port
    first, last = _DASHBOARD_PORTS[0], _DASHBOARD_PORTS[-1]
    raise ProgramError(f"ports {first} to {last} of this node are all taken", "do without the dashboard")


def scheduler_address(environment: Mapping[str, str] = os.environ) -> tuple[str, int]:
    """Host and port of the trial's scheduler."""
    host, _, port = environment["DASK_SCHEDULER_ADDRESS"].removeprefix("tls://").rpartition(":")
    return host, int(port)


def workers_wanted(environment: Mapping[str, str] = os.environ) -> int:
    """How many workers the trial has."""
    return int(environment.get("DASK_HARNESS__WORKERS", 1))
