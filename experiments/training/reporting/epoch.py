"""The `ready`, `progress` and `epoch` events of a worker, whatever it computes with."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from contract import wire

from . import meters
from .events import emit
from .meters import Vector
from .phases import Phases

_PROGRESS_SECONDS = 1.0


class Start:
    """From the process's start to `ready`: make it first, and say when the data are loaded and the libraries imported."""

    def __init__(self) -> None:
        self._before = meters.process_age()
        self._began = self._loaded = self._imported = time.perf_counter()

    def loaded(self) -> None:
        """The data are there."""
        self._loaded = time.perf_counter()

    def imported(self) -> None:
        """The libraries are there; what follows is the store's."""
        self._imported = time.perf_counter()

    def ready(
        self,
        *,
        rank: int,
        workers: int,
        model: str,
        parameters: int,
        environment: Mapping[str, str] | None = None,
        replaceable: bool = False,
        factored: Sequence[str] = (),
        split: Sequence[str] = (),
        implementation: str = "",
        stage: Mapping[str, object] | None = None,
        tower: Mapping[str, object] | None = None,
    ) -> None:
        """Say that this worker is about to train, with what the program itself set in its `environment`.

        `replaceable` is whether another worker could take its place, `factored` are the dense layers whose gradients travel
        as their factors, `split` those whose outputs the workers share, `implementation` is whose parameter servers serve,
        `stage` is the worker's place in a pipeline, `tower` what it computes of branches.
        """
        emit(
            wire.READY,
            rank=rank,
            workers=workers,
            model=model,
            parameters=parameters,
            environment=dict(environment or {}),
            replaceable=replaceable,
            **({"factored": list(factored)} if factored else {}),
            **({"split": list(split)} if split else {}),
            **({"kvstore_implementation": implementation} if implementation else {}),
            **({"stage": dict(stage)} if stage else {}),
            **({"tower": dict(tower)} if tower else {}),
            import_seconds=self._before + self._imported - self._loaded,
            data_seconds=self._loaded - self._began,
            store_seconds=time.perf_counter() - self._imported,
        )


class Progress:
    """`progress` events, one a second at most."""

    def __init__(self, rank: int, steps: int) -> None:
        self._rank = rank
        self._steps = steps
        self._next = 0.0

    def report(self, epoch: int, step: int) -> None:
        """Say, where a second has passed since the last time, that `step` (from 0) of `epoch` is under way."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _PROGRESS_SECONDS
            emit(wire.PROGRESS, rank=self._rank, epoch=epoch, step=step + 1, steps=self._steps)


class Epoch:
    """One epoch's cost: make it when the training begins, say when that ends, and at the end `report`."""

    def __init__(self, phases: Phases) -> None:
        self._phases = phases
        self._before = meters.read()
        phases.restart()
        self._began = time.perf_counter()

    def trained(self) -> None:
        """Training is over, validation begins."""
        self._trained = time.perf_counter()
        self._seconds = self._phases.seconds()

    def report(
        self, *, rank: int, epoch: int, steps: int, images: int, learning_rate: float, sums: Vector, validated: bool
    ) -> None:
        """Print the event.

        Args:
            rank: the worker.
            epoch: from 1.
            steps: batches of this worker.
            images: of this worker.
            learning_rate: of the last step.
            sums: (six,) float64 over all workers: loss, count of right answers and of images, of
                training, then of validation.
            validated: whether there was a validation.
        """
        ended, spent = time.perf_counter(), meters.read() - self._before
        emit(
            wire.EPOCH,
            rank=rank,
            epoch=epoch,
            steps=steps,
            images=images,
            train_seconds=self._trained - self._began,
            validation_seconds=ended - self._trained if validated else 0.0,
            **self._seconds,
            learning_rate=learning_rate,
            **meters.means("train", sums[:3]),
            **meters.means("validation", sums[3:]),
            **spent.as_values(),
        )
