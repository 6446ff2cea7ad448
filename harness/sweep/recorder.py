"""Writes what a running trial says to the run directory, and shows it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from harness.contract import wire
from harness.contract.events import Event
from harness.launch.checkpoints import Gathering, Saved
from harness.launch.placement import Placement, Rank
from harness.nodes.inventory import Node
from harness.results.dilation import undilated_event, undilated_sample
from harness.results.rows import Row, epoch_row, epoch_row_of, telemetry_row, timestamp
from harness.results.run_directory import RunDirectory, TrialStart
from harness.sweep.progress import Progress

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Recorder:
    """One start of a trial's ranks: rows, logs, events, checkpoints. Times are undilated by the cluster's factor."""

    def __init__(
        self, placement: Placement, directory: RunDirectory, progress: Progress, start: TrialStart, dilation: float
    ) -> None:
        self._trial = placement.trial
        self._directory = directory
        self._progress = progress
        self._dilation = dilation
        self._saved = start.saved
        self._finished = start.saved.checkpoint.epoch if start.saved else 0
        self._gathering = Gathering([rank.name for rank in placement.finishing], self._finished)
        self._began = time.monotonic()
        self._ready: set[str] = set()
        self._ready_after: float | None = None
        self._warned: set[str] = set()
        self._tasks: dict[str, tuple[Rank, Event]] = {}
        """By rank, what it has said of its tasks last."""
        self.epochs: list[Row] = [epoch_row_of(row) for row in start.epochs]
        """Of the whole trial, also of the starts that this one goes on from."""
        self.samples: list[Mapping[str, object]] = list(start.telemetry)
        """As above."""
        self.contradictions: list[str] = []
        """What workers said of epochs that cannot be so; rows of it were not taken."""
        self._reported: set[tuple[str, float]] = set()
        """By worker and epoch: what has its row."""
        self._workers: dict[float, str] = {}
        """By the rank that is printed (ps-lite gives ranks in the order of arrival): the worker that printed it first."""
        self._ranks: dict[str, float] = {}
        """The other way round."""
        self.digests: set[str] = set()
        """What the ranks say they have trained."""
        self.model_parameters = start.saved.model_parameters if start.saved else None

    def output(self, rank: Rank, data: bytes) -> None:
        """Keep what a rank printed."""
        self._directory.log(self._trial.id, rank.name, data)

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
        self._directory.event(self._trial.id, record)
        event = undilated_event(event, self._dilation)
        if event.kind == wire.READY:
            self.model_parameters = event.number("parameters")
            if rank.name not in self._ready:  # one that takes a dead one's place is ready again
                self._ready.add(rank.name)
                self._ready_after = self._elapsed()
        if event.kind == wire.DONE and _DIGEST.fullmatch(str(event.values.get("weights_sha256"))):
            self.digests.add(str(event.values["weights_sha256"]))
        if event.kind == wire.TASKS:
            self._tasks[rank.name] = (rank, event)
        if event.kind == wire.EPOCH:
            self._take_epoch(rank, event, now)
        if event.kind == wire.CHECKPOINT and (event.number("bytes") or 0) > wire.CHECKPOINT_LIMIT_BYTES:
            self._warn_once(
                f"{self._trial.id}: checkpoints of more than {wire.CHECKPOINT_LIMIT_BYTES >> 20} MiB are not fetched"
            )
        self._gathering.event(rank.name, event)
        self._keep_whole()
        self._progress.event(rank, event)

    def checkpoint(self, rank: Rank, data: bytes) -> None:
        """Keep a checkpoint, once all that belongs to it is here."""
        self._gathering.data(data)
        self._keep_whole()

    def file(self, rank: Rank, name: str, data: bytes) -> None:
        """Keep a file that a rank left."""
        self._directory.file(self._trial.id, name, data)

    def telemetry(self, node: Node, sample: Mapping[str, object]) -> None:
        """Keep a sample of a node's health, with what its ranks have said of their tasks by now."""
        sample = {**undilated_sample(sample, self._dilation), **self._tasks_of(node)}
        self.samples.append(sample)
        self._directory.telemetry(telemetry_row(self._trial, node.name, sample, datetime.now(UTC)))

    def warning(self, text: str) -> None:
        """Tell the user."""
        self._progress.warning(text)

    def _tasks_of(self, node: Node) -> dict[str, float]:
        """The tasks of all ranks of a node, added up; nothing where none of them says any."""
        events = [event for rank, event in self._tasks.values() if rank.node.name == node.name]
        return {key: sum(event.number(key) or 0 for event in events) for key in wire.TASK_KEYS} if events else {}

    def _take_epoch(self, rank: Rank, event: Event, now: datetime) -> None:
        """Write an epoch's row: once for every worker and epoch, and no two workers under one rank."""
        if self._is_done(event):
            return
        epoch, number = event.number("epoch") or 0, event.number("rank") or 0
        owner, claimed = self._workers.setdefault(number, rank.name), self._ranks.setdefault(rank.name, number)
        if (rank.name, epoch) in self._reported:
            self._contradict(f"{rank.name} printed an epoch twice; the first counts")
        elif owner != rank.name:
            self._contradict(f"{rank.name} printed an epoch as rank {number:g}, which {owner} is; it is not counted")
        elif claimed != number:
            self._contradict(f"{rank.name} printed epochs as rank {claimed:g} and {number:g}; the first rank counts")
        else:
            self._reported.add((rank.name, epoch))
            row = epoch_row(self._trial, rank, event, now)
            self.epochs.append(row)
            self._directory.epoch(row)

    def _contradict(self, text: str) -> None:
        """Note what the trial must say of itself; shown once, with the trial's other warnings at its end."""
        if text not in self.contradictions:
            self.contradictions.append(text)

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
        self._directory.keep(self._trial.id, saved)

    def _elapsed(self) -> float:
        return (time.monotonic() - self._began) / self._dilation

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.warning(text)
