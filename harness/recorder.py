"""Writes what a running trial says to the run directory, and shows it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from harness.checkpoints import LARGEST_BYTES, Gathering, Saved
from harness.dilation import undilated_event, undilated_sample
from harness.events import Event
from harness.inventory import Node
from harness.placement import Placement, Rank
from harness.progress import Progress
from harness.rows import Row, epoch_row, epoch_row_of, telemetry_row, timestamp
from harness.store import Begun, RunStore


class Recorder:
    """One start of a trial's ranks: rows, logs, events, checkpoints. Times are undilated by the cluster's factor."""

    def __init__(
        self, placement: Placement, store: RunStore, progress: Progress, begun: Begun, dilation: float
    ) -> None:
        self._trial = placement.trial
        self._store = store
        self._progress = progress
        self._dilation = dilation
        self._saved = begun.saved
        self._finished = begun.saved.checkpoint.epoch if begun.saved else 0
        self._gathering = Gathering([rank.name for rank in placement.with_role("worker")], self._finished)
        self._began = time.monotonic()
        self._ready: set[str] = set()
        self._ready_after: float | None = None
        self._warned: set[str] = set()
        self.epochs: list[Row] = [epoch_row_of(row) for row in begun.epochs]
        """Of the whole trial, also of the starts that this one goes on from."""
        self.samples: list[Mapping[str, object]] = list(begun.telemetry)
        """As above."""
        self.model_parameters = begun.saved.model_parameters if begun.saved else None

    def output(self, rank: Rank, data: bytes) -> None:
        """Keep what a rank printed."""
        self._store.log(self._trial.id, rank.name, data)

    def event(self, rank: Rank, event: Event) -> None:
        """Keep an event as it was said; rows and progress are of undilated time."""
        now = datetime.now(UTC)
        record = {
            "time": timestamp(now),
            "role": rank.name,
            "node": rank.node.name,
            "event": event.kind,
            **event.values,
        }
        self._store.event(self._trial.id, record)
        event = undilated_event(event, self._dilation)
        if event.kind == "ready":
            self.model_parameters = event.number("parameters")
            if rank.name not in self._ready:  # one that takes a dead one's place is ready again
                self._ready.add(rank.name)
                self._ready_after = self._elapsed()
        if event.kind == "epoch" and not self._is_done(event):
            row = epoch_row(self._trial, rank, event, now)
            self.epochs.append(row)
            self._store.epoch(row)
        if event.kind == "checkpoint" and (event.number("bytes") or 0) > LARGEST_BYTES:
            self._warn_once(f"{self._trial.id}: checkpoints of more than {LARGEST_BYTES >> 20} MiB are not fetched")
        self._gathering.event(rank.name, event)
        self._keep_whole()
        self._progress.event(rank, event)

    def checkpoint(self, rank: Rank, data: bytes) -> None:
        """Keep a checkpoint, once all that belongs to it is here."""
        self._gathering.data(data)
        self._keep_whole()

    def telemetry(self, node: Node, sample: Mapping[str, object]) -> None:
        """Keep a sample of a node's health."""
        sample = undilated_sample(sample, self._dilation)
        self.samples.append(sample)
        self._store.telemetry(telemetry_row(self._trial, node.name, sample, datetime.now(UTC)))

    def warning(self, text: str) -> None:
        """Tell the user."""
        self._progress.warning(text)

    def _is_done(self, event: Event) -> bool:
        """Whether the epoch has its rows from before: a program that begins anew all the same must not double them."""
        done = (event.number("epoch") or 0) <= self._finished
        if done:
            self._warn_once(
                f"{self._trial.id}: the program began anew; rows of epochs that were done are not taken again"
            )
        return done

    def _keep_whole(self) -> None:
        whole = self._gathering.whole()
        if whole is None:
            return
        before = self._saved
        startup = [s for s in (before.startup_seconds if before else None, self._ready_after) if s is not None]
        rows = {
            "epochs": sum(float(str(row["epoch"])) <= whole.epoch for row in self.epochs),
            "telemetry": len(self.samples),
        }
        saved = Saved(
            checkpoint=whole,
            rows=rows,
            startup_seconds=sum(startup) if startup else None,
            total_seconds=(before.total_seconds if before else 0.0) + self._elapsed(),
            model_parameters=self.model_parameters,
        )
        self._store.keep(self._trial.id, saved)

    def _elapsed(self) -> float:
        return (time.monotonic() - self._began) / self._dilation

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.warning(text)
