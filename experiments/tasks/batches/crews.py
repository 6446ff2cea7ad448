"""Who does the work: the processes of one machine, or the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures import CancelledError as PoolCancelledError
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from statistics import fmean
from typing import Any

from .shares import Batch
from .spread import BatchLostError, Crew, Done, Part, WorkerLostError

Work = Callable[[int, int], Part]
"""Does items `first` to `first + count - 1`; can be pickled."""


@dataclass(frozen=True)
class Call:
    """A module's function and its first arguments. The module is imported only where it is called: by no scheduler."""

    module: str
    function: str
    arguments: tuple[Any, ...] = ()

    def __call__(self, *more: Any) -> Any:
        """Call it."""
        return getattr(import_module(self.module), self.function)(*self.arguments, *more)


_RESULT_SECONDS = 120.0
"""So long a result may travel: slow nodes on a busy machine take a second for an answer."""
_FETCHING = 16
"""So many results are fetched at once: one that does not come must not keep others waiting."""


class Processes(ProcessPoolExecutor):
    """A pool that says when it can do no more work: once one of its processes was killed, it takes none."""

    on_broken: Callable[[], object] | None = None
    """Called, in any thread, with the first piece of work that finds it so."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **more: Any) -> Future[Any]:
        """As any executor's."""
        try:
            future = super().submit(function, *arguments, **more)
        except BrokenExecutor:
            self._say()
            raise
        future.add_done_callback(lambda done: self._say() if _is_broken(done) else None)
        return future

    def _say(self) -> None:
        if self.on_broken:
            self.on_broken()


def _is_broken(future: Future[Any]) -> bool:
    return not future.cancelled() and isinstance(future.exception(), BrokenExecutor)


def warmed(count: int, module: str, preparation: Callable[[], Any], meanwhile: str = "") -> Processes:
    """So many processes that have called `preparation`, forked from one that has imported `module` already.

    This process imports another module meanwhile.

    Slow boards import it once, and keep it once. Trees are grown half in Python, whose lock lets one thread at a time:
    processes, not threads, use all cores.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    pool = Processes(count, mp_context=context)
    prepared = [pool.submit(preparation) for _ in range(count)]
    if meanwhile:
        import_module(meanwhile)
    for future in prepared:
        future.result()
    return pool


def rehearsed(pool: Executor, cores: int, work: Work, items: int) -> float | None:
    """Seconds that an item takes on a core while all cores work.

    None where `items`, that each does for it, is 0, and where the work raises: it will again, where somebody is told.
    """
    if not items:
        return None
    tries = [pool.submit(_rehearse, work, items) for _ in range(cores)]
    try:
        return fmean(future.result() for future in tries)
    except Exception:
        return None


def _rehearse(work: Work, items: int) -> float:
    work(0, items)  # the first time takes longer
    return work(0, items).seconds


class PoolCrew(Crew):
    """One worker: a pool of this machine's processes."""

    def __init__(self, pool: Executor, cores: int, work: Work, seconds: float | None = None) -> None:
        self._pool, self._cores, self._work, self._seconds = pool, cores, work, seconds

    def workers(self) -> Mapping[Hashable, int]:
        """The pool, always."""
        return {"pool": self._cores}

    def item_seconds(self, worker: Hashable) -> float | None:
        """As it was told."""
        return self._seconds

    def submit(self, worker: Hashable, batches: Sequence[Batch], done: Done) -> None:
        """Processes that are free do them; each is reported by itself."""

        def report(batch: Batch, future: Future[Part]) -> None:
            done([(batch, future.result)])

        for batch in batches:
            self._pool.submit(self._work, batch.first, batch.count).add_done_callback(partial(report, batch))


class DaskCrew(Crew):
    """The workers of a Dask cluster; a batch goes to the worker that it was made for, and to no other.

    Batches that a worker gets at the same time are one task of Dask's: a task costs the client and the scheduler milliseconds.
    """

    def __init__(self, client: Any, work: Work, rates: Mapping[Hashable, float | None] | None = None) -> None:
        """`rates`: by address, what workers say that an item takes on a core of theirs, in seconds."""
        self._client, self._work, self._rates = client, Call(__name__, together.__name__, (work,)), dict(rates or {})
        self._futures: dict[Hashable, set[Any]] = {}
        self._fetching = ThreadPoolExecutor(_FETCHING, "results")

    def workers(self) -> Mapping[Hashable, int]:
        """By address, the threads or processes of each.

        Not by `scheduler_info`: the client itself asks for that every two seconds without workers, and its answer may come
        between ours and our reading it. Then nobody seems to be there.
        """
        found: Mapping[Hashable, int] = self._client.nthreads()
        return found

    def item_seconds(self, worker: Hashable) -> float | None:
        """As it said."""
        return self._rates.get(worker)

    def submit(self, worker: Hashable, batches: Sequence[Batch], done: Done) -> None:
        """Send them as one task."""
        future = self._client.submit(
            self._work, [(batch.first, batch.count) for batch in batches], workers=[worker], allow_other_workers=False,
            pure=False, key=f"batch-{batches[0].first}-{sum(batch.count for batch in batches)}-{time.monotonic_ns()}",
        )  # fmt: skip
        self._futures.setdefault(worker, set()).add(future)

        def fetched(result: Callable[[], list[Part]]) -> None:
            done([(batch, partial(_nth, result, place)) for place, batch in enumerate(batches)])

        future.add_done_callback(lambda found: self._fetch(worker, found, fetched))

    def drop(self, worker: Hashable) -> None:
        """Cancel what waits for a worker that will not come back."""
        with contextlib.suppress(Exception):  # the scheduler may have forgotten them
            self._client.cancel(list(self._futures.pop(worker, set())))

    def dismiss(self) -> None:
        """Forget all that is under way."""
        for worker in list(self._futures):
            self.drop(worker)
        self._fetching.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, worker: Hashable, future: Any, done: Callable[[Callable[[], list[Part]]], None]) -> None:
        """In a thread of its own, so that nobody waits for the wire."""
        with contextlib.suppress(RuntimeError):  # dismissed
            found = self._fetching.submit(self._result, worker, future)
            found.add_done_callback(lambda fetched: done(fetched.result))

    def _result(self, worker: Hashable, future: Any) -> list[Part]:
        from distributed import CancelledError, KilledWorker

        try:
            parts: list[Part] = future.result(timeout=_RESULT_SECONDS)
        except (BrokenExecutor, PoolCancelledError, CancelledError, KilledWorker) as error:
            raise WorkerLostError(str(error)) from error
        except (TimeoutError, OSError) as error:
            if future.done() and future.exception(timeout=_RESULT_SECONDS):
                raise  # the task's own
            raise BatchLostError(str(error)) from error
        finally:
            self._futures.get(worker, set()).discard(future)
        return parts


def together(work: Work, batches: Sequence[tuple[int, int]]) -> list[Part]:
    """In a worker of Dask: do these batches, each with a process of its pool, and answer when all are done."""
    from distributed import get_worker

    pool: Executor = get_worker().pool
    return [future.result() for future in [pool.submit(work, first, count) for first, count in batches]]


def _nth(result: Callable[[], list[Part]], place: int) -> Part:
    return result()[place]
