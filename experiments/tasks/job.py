"""A piece of work that is many independent items, and the ways of having it done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .batches.crews import Work
from .batches.spread import Crew, Summary, spread
from .reports import Progress, alive
from .serving import cores

SERIAL, THREADS, POOL = "serial", "threads", "pool"
JOBLIB, SCATTER, RAY, BATCHES = "joblib", "scatter", "ray", "batches"
CLUSTERED = (JOBLIB, SCATTER, RAY, BATCHES)


class Job(ABC):
    """One program's work."""

    module: str
    """What the processes of a pool have imported."""

    @property
    @abstractmethod
    def total(self) -> int:
        """How many items there are."""

    @property
    def rehearsed(self) -> int:
        """How many items each process does before work begins, so that their rate is known; 0 where one may take long."""
        return 0

    @abstractmethod
    def require_memory(self, copies: int) -> None:
        """Raise ProgramError where the node has no room for so many copies of the data."""

    @abstractmethod
    def check(self) -> None:
        """Raise ProgramError for options that the library does not take."""

    @abstractmethod
    def preparation(self) -> Callable[[], None]:
        """What every process calls before work begins; it can be pickled."""

    @abstractmethod
    def work(self) -> Work:
        """What does a batch of items; it can be pickled."""

    @abstractmethod
    def alone(self, jobs: int | None) -> Any:
        """The result by the library's own way: with so many jobs, or None for what joblib's context says."""

    def received(self, value: Any) -> Any:
        """What is kept of the value of a batch. It is called while other batches are done."""
        return value

    @abstractmethod
    def assembled(self, parts: Mapping[int, Any]) -> Any:
        """The result from what was received of all batches, by their first item."""

    @abstractmethod
    def digest(self, result: Any) -> str:
        """SHA-256 of what was computed: the same by every way."""

    @abstractmethod
    def score(self, result: Any) -> float | None:
        """How good it is on samples that it has not seen, from 0 to 1; None where that means nothing."""

    @abstractmethod
    def shared(self) -> list[Any]:
        """What `scatter` sends to all workers beforehand."""


def result_of(job: Job, via: str, rank: int, crew: Crew | None) -> tuple[Any, Summary | None]:
    """Have the work done, in batches by `crew` where there is one. How batches went is known only then."""
    if crew:
        parts: dict[int, Any] = {}
        summary = spread(
            crew,
            job.total,
            lambda batch, value: parts.__setitem__(batch.first, job.received(value)),
            Progress(rank, job.total),
        )
        return job.assembled(parts), summary
    jobs = 1 if via == SERIAL else cores() if via == THREADS else None
    with alive(f"{via} computes"), _backend(job, via):
        return job.alone(jobs), None


def _backend(job: Job, via: str) -> AbstractContextManager[Any]:
    if via not in (JOBLIB, SCATTER, RAY):
        return nullcontext()
    import joblib

    if via == RAY:
        from ray.util.joblib import register_ray

        register_ray()
        return joblib.parallel_config(backend="ray", n_jobs=-1)  # type: ignore[no-any-return]
    more = {"scatter": job.shared()} if via == SCATTER else {}
    return joblib.parallel_config(backend="dask", **more)  # type: ignore[no-any-return]
