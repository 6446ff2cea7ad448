"""From command line to exit code: each rank does what its role says."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from contract import wire
from training import trial
from training.errors import ProgramError
from training.options.command_line import parse
from training.options.description import described
from training.reporting.events import emit

from . import ray_nodes, serving
from .batches.crews import DaskCrew, PoolCrew, rehearsed, warmed
from .batches.spread import NoWorkersError, Summary
from .job import BATCHES, CLUSTERED, POOL, RAY, SERIAL, Job, result_of
from .reports import Measured, say_epoch

SCHEDULER, WORKER, DRIVER, TRAINER = "scheduler", "worker", "driver", "trainer"
_PROCESSES = "processes"
_EXIT_FAULT = 1
_EXIT_BAD_INPUT = 2
_EXIT_INTERRUPTED = 130
_LONGEST_MESSAGE = 400


def main(command: str, make: Callable[[Mapping[str, Any]], Job], arguments: Sequence[str]) -> int:
    """Run the process's role; exit code 0, 1 after a traceback, or 2 after an `error` event and the same words on stderr."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # every core has a task of its own
    try:
        options = parse(described(command), arguments)
        _run(os.environ.get(wire.ROLE, TRAINER), options, make)
    except ProgramError as error:
        emit(wire.ERROR, message=error.message, remedy=error.remedy)
        print(f"error: {error.message}\n  try: {error.remedy}", file=sys.stderr)
        return _EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except Exception as error:
        traceback.print_exc()
        emit(wire.ERROR, message=f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE], remedy="see the rank's log")
        return _EXIT_FAULT
    return 0


def _run(role: str, options: Mapping[str, Any], make: Callable[[Mapping[str, Any]], Job]) -> None:
    via = str(options["via"])
    if via == RAY and role != TRAINER:
        _run_by_ray(role, make(options))
        return
    if role in (SCHEDULER, WORKER, DRIVER):
        serving.configure()
    if role == SCHEDULER:
        serving.schedule("" if via == BATCHES else make(options).module, bool(options.get("serve_dashboard")))
    elif role == WORKER:
        _work(make(options), via, options.get("pool") or (_PROCESSES if via == BATCHES else "threads"))
    elif role == DRIVER:
        _drive(make(options), via, bool(options.get("performance_report")))
    else:
        _train(make(options), SERIAL if via in CLUSTERED else via)


def _run_by_ray(role: str, job: Job) -> None:
    ray_nodes.configure()
    if role == SCHEDULER:
        ray_nodes.head()
        return
    job.require_memory(1)
    job.preparation()()
    if role == WORKER:
        ray_nodes.work()
        return
    job.check()
    with ray_nodes.connected():
        emit(wire.READY, rank=0)
        measured = Measured()
        result, _ = result_of(job, RAY, 0, None)
        values = measured.done()
    _finish(job, result, 0, job.total, values, None)


def _work(job: Job, via: str, kind: str) -> None:
    """Be a worker of Dask, that is there once its processes have the data."""
    count = serving.cores()
    job.require_memory(count if kind == _PROCESSES else 1)
    if kind == _PROCESSES:
        processes = warmed(count, job.module, job.preparation(), "distributed")
    else:
        job.preparation()()
        processes = None
    if via != BATCHES:
        serving.work(processes)
        return
    serving.work(None, processes or ThreadPoolExecutor(count, "cores"))


def _drive(job: Job, via: str, with_report: bool) -> None:
    """Be the rank that has the work done by Dask's workers."""
    job.check()
    job.require_memory(1)
    job.preparation()()
    with serving.connected() as client:
        emit(wire.READY, rank=0)
        serving.wait_for_workers(client)
        with serving.reported(with_report):
            rates = client.run(serving.begin_part, job.work(), job.rehearsed, on_error="ignore")
            crew = DaskCrew(client, job.work(), rates) if via == BATCHES else None
            measured = Measured()
            try:
                result, summary = result_of(job, via, 0, crew)
            except NoWorkersError as error:
                raise ProgramError(str(error), "look into the workers' logs, and allow fewer to be lost") from None
            finally:
                if crew:
                    crew.dismiss()
            values = measured.done()
        items = summary.items if summary else None
        sent = summary.bytes if summary else None
        there = client.run(serving.end_part, values["train_seconds"], items, sent, on_error="ignore")
    if summary:
        values["result_bytes"] = _of_the_gone(summary.bytes, there)
    _finish(job, result, 0, _of_the_gone(items, there) if items is not None else job.total, values, summary)


def _of_the_gone(counts: Mapping[Any, int], there: Mapping[str, Any]) -> int:
    """What workers did that cannot say so themselves any more."""
    return sum(count for worker, count in counts.items() if worker not in there)


def _train(job: Job, via: str) -> None:
    """Do all of the work on this node alone."""
    rank, count = trial.rank(), serving.cores()
    job.require_memory(count if via == POOL else 1)
    pool = warmed(count, job.module, job.preparation(), job.module) if via == POOL else None
    job.check()
    job.preparation()()
    emit(wire.READY, rank=rank)
    crew = None
    if pool:
        crew = PoolCrew(pool, count, job.work(), rehearsed(pool, count, job.work(), job.rehearsed))
    measured = Measured()
    result, summary = result_of(job, via, rank, crew)
    _finish(job, result, rank, job.total, measured.done(), summary)


def _finish(
    job: Job, result: Any, rank: int, items: int | None, values: dict[str, Any], summary: Summary | None
) -> None:
    """Say what came of it. Accuracy and digest are of the whole result, and are no part of the time."""
    began = Measured()
    score = job.score(result)
    values["validation_seconds"] = began.done()["train_seconds"]
    if score is not None:
        values["validation_accuracy"] = score
    if summary:
        best = summary.best_seconds(job.total)
        values |= {"best_seconds": best, "redone": summary.redone}
        emit(
            "schedule",
            rank=rank,
            batches=summary.batches,
            best_seconds=best,
            over_best=summary.seconds / best if best else None,
            items={str(worker): count for worker, count in summary.items.items()},
            bytes={str(worker): count for worker, count in summary.bytes.items()},
            seconds_per_item={str(worker): seconds for worker, seconds in summary.rates.items()},
            done_again={str(worker): count for worker, count in summary.lost.items()},
        )
    say_epoch(rank, items, values)
    emit(wire.DONE, rank=rank, weights_sha256=job.digest(result))
