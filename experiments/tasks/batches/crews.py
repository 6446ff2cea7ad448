"""Who does the work: the processes of one machine, or the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures import CancelledError as PoolCancelledError
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from .shares import Batch
from .spread import BatchLostError, Crew, Part, WorkerLostError

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
_FETCHING = 4
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


class PoolCrew(Crew):
    """One worker: a pool of this machine's processes."""

    def __init__(self, pool: Executor, cores: int, work: Work) -> None:
        self._pool, self._cores, self._work = pool, cores, work

    def workers(self) -> Mapping[Hashable, int]:
        """The pool, always."""
        return {"pool": self._cores}

    def submit(self, worker: Hashable, batch: Batch, done: Callable[[Callable[[], Part]], None]) -> None:
        """A process that is free does it."""
        future: Future[Part] = self._pool.submit(self._work, batch.first, batch.count)
        future.add_done_callback(lambda found: done(found.result))


class DaskCrew(Crew):
    """The workers of a Dask cluster; a batch goes to the worker that it was made for, and to no other."""

    def __init__(self, client: Any, work: Work) -> None:
        self._client, self._work = client, work
        self._futures: dict[Hashable, set[Any]] = {}
        self._fetching = ThreadPoolExecutor(_FETCHING, "results")

    def workers(self) -> Mapping[Hashable, int]:
        """By address, the threads or processes of each.

        Not by `scheduler_info`: the client itself asks for that every two seconds without workers, and its answer may come
        between ours and our reading it. Then nobody seems to be there.
        """
        found: Mapping[Hashable, int] = self._client.nthreads()
        return found

    def submit(self, worker: Hashable, batch: Batch, done: Callable[[Callable[[], Part]], None]) -> None:
        """Send it."""
        future = self._client.submit(
            self._work, batch.first, batch.count, workers=[worker], allow_other_workers=False, pure=False,
            key=f"batch-{batch.first}-{batch.count}-{time.monotonic_ns()}",
        )  # fmt: skip
        self._futures.setdefault(worker, set()).add(future)
        future.add_done_callback(lambda found: self._fetch(worker, found, done))

    def drop(self, worker: Hashable) -> None:
        """Cancel what waits for a worker that will not come back."""
        with contextlib.suppress(Exception):  # the scheduler may have forgotten them
            self._client.cancel(list(self._futures.pop(worker, set())))

    def dismiss(self) -> None:
        """Forget all that is under way."""
        for worker in list(self._futures):
            self.drop(worker)
        self._fetching.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, worker: Hashable, future: Any, done: Callable[[Callable[[], Part]], None]) -> None:
        """In a thread of its own, so that nobody waits for the wire."""
        with contextlib.suppress(RuntimeError):  # dismissed
            found = self._fetching.submit(self._result, worker, future)
            found.add_done_callback(lambda fetched: done(fetched.result))

    def _result(self, worker: Hashable, future: Any) -> Part:
        from distributed import CancelledError, KilledWorker

        try:
            part: Part = future.result(timeout=_RESULT_SECONDS)
        except (BrokenExecutor, PoolCancelledError, CancelledError, KilledWorker) as error:
            raise WorkerLostError(str(error)) from error
        except (TimeoutError, OSError) as error:
            if future.done() and future.exception(timeout=_RESULT_SECONDS):
                raise  # the task's own
            raise BatchLostError(str(error)) from error
        finally:
            self._futures.get(worker, set()).discard(future)
        return part
