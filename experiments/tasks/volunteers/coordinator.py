"""The rank that has the model: it lets volunteers in, gives each one tasks, and judges what becomes of them."""

from __future__ import annotations

import queue
import socket
import threading
import time
from itertools import count

import numpy as np
from contract import wire
from training import models
from training.engines.base import Floats
from training.errors import ProgramError
from training.kvstores.allreduce.links.reception import Guest, Reception
from training.kvstores.allreduce.links.rendezvous import listen
from training.online.setup import Setup, set_up
from training.reporting import meters
from training.reporting.epoch import Start
from training.reporting.events import emit
from training.rules import RULES
from training.sharding import Shares
from training.trial import Seat

from .account import Measurement
from .desk import Desk, Plan
from .merging import Arriving, Merging, Rounds
from .messages import WAIT_SECONDS, BrokenError, Line, result_of
from .options import EQUAL, ROUNDS, Options
from .portions import Sizing

_BACKLOG = 64
_LOOK_SECONDS = 0.2
_LIFE_SECONDS = 1.0
RANK = 0
"""Of the coordinator's events; volunteers count from 1."""


def coordinate(options: Options, seat: Seat) -> None:
    """Be the coordinator until all is done. Raises ProgramError where nobody is there for too long."""
    start = Start()
    with listen(seat, _BACKLOG) as listener, Reception(listener, seat) as reception:
        made = set_up(
            start, engine=options.engine, model=options.model, dataset=options.dataset, data_dir=options.data_dir,
            limit=options.limit, seed=options.seed,
        )  # fmt: skip
        start.ready(
            rank=RANK, workers=1, model=options.model, parameters=made.architecture.parameters(),
            environment=made.environment,
        )  # fmt: skip
        Coordinator(options, made).run(reception, listener)
    emit(wire.DONE, rank=RANK, epochs=options.windows, weights_sha256=models.digest(made.model.weights()))


class Coordinator:
    """One run."""

    def __init__(self, options: Options, made: Setup) -> None:
        self._options = options
        self._model = made.model
        self._values = made.model.memory(made.model.parameters[0].value)
        first = self._values.settled().copy()
        self._size = first.size
        split = made.dataset.validation
        self._judged = min(options.judged, len(split.images))
        self._score = made.model.scorer(split.images[: self._judged], split.labels[: self._judged])
        self._desk = Desk(plan_of(options, len(made.dataset.train.images)), _merging(options, first))
        self._lines: set[Line] = set()
        self._began = time.monotonic()

    def run(self, reception: Reception, listener: socket.socket) -> None:
        """Let volunteers in, and measure, until all steps are done and judged."""
        desk, numbers = self._desk, count()
        before, left, spoke, seen = meters.read(), self._options.windows, 0.0, time.monotonic()
        begun = False
        try:
            while left:
                now = time.monotonic()
                if guest := reception.next(_LOOK_SECONDS):
                    name = f"volunteer-{next(numbers)}"
                    threading.Thread(target=self._serve, args=(guest, name), name=name, daemon=True).start()
                if not begun and self._enough(now - self._began):
                    begun, before, self._began = True, meters.read(), now
                    desk.begin()
                seen = now if desk.present or desk.finished else seen
                if now - seen > self._options.patience:
                    raise ProgramError(
                        f"no volunteer for {self._options.patience:.0f} s",
                        "look into the workers' logs, or wait longer",
                    )
                if now - spoke > _LIFE_SECONDS:
                    spoke = now
                    window = self._options.windows - left + 1
                    emit(wire.PROGRESS, rank=RANK, epoch=window, step=0, steps=1)
                try:
                    measurement = desk.measurements.get_nowait()
                except queue.Empty:
                    continue
                self._say(measurement, before)
                before, left = meters.read(), left - 1
        finally:
            desk.close()
            for line in list(self._lines):
                line.close()

    def _enough(self, waited: float) -> bool:
        return self._desk.present >= (self._options.wait_for if waited < self._options.patience else 1)

    def _serve(self, guest: Guest, key: str) -> None:
        """One volunteer's thread: a task, its result, and so on."""
        line = Line(guest.connection, self._size)
        self._lines.add(line)
        node, desk, how = f"worker{guest.rank}", self._desk, "left"
        try:
            greeting, _ = line.hear()
            node = str(greeting.get("node") or node)[:80]
            desk.come(key, node)
            self._tell(guest.rank, node, "came")
            while given := desk.next(key, WAIT_SECONDS):
                task, values = given
                line.say("task", task, values)
                head, change = line.hear()
                if why := desk.take(key, result_of(head), change):
                    print(f"a result of {node} {why}", flush=True)
                if desk.dismissed(key):
                    how = "was sent away"
                    break
            line.say("end")
        except BrokenError as error:
            how = f"left: {error}"
        finally:
            self._lines.discard(line)
            line.close()
            lost = desk.leave(key)
            if not desk.finished:
                self._tell(guest.rank, node, how, lost)

    def _tell(self, rank: int, node: str, how: str, lost: int = 0) -> None:
        since = time.monotonic() - self._began
        emit(
            "volunteer", rank=rank + 1, node=node, how=how, seconds=since, images_lost=lost, present=self._desk.present
        )

    def _say(self, found: Measurement, before: meters.Reading) -> None:
        """Judge the values, and print both events. Volunteers go on meanwhile."""
        began = time.perf_counter()
        loss, right = self._judge(found.centre)
        accuracy = right / self._judged
        emit(
            wire.EPOCH,
            rank=RANK,
            epoch=found.window,
            train_seconds=found.seconds,
            learning_rate=found.rate,
            train_loss=found.loss / found.images if found.images else None,
            validation_loss=loss / self._judged,
            validation_accuracy=accuracy,
            images_lost=found.lost,
            staleness=found.staleness,
            **(meters.read() - before).as_values(),
        )
        emit(
            wire.VOLUNTEERS, rank=RANK, window=found.window, seconds=found.since, steps=found.steps, accuracy=accuracy,
            judging_seconds=time.perf_counter() - began, **found.events,
        )  # fmt: skip

    def _judge(self, centre: Floats) -> tuple[float, float]:
        self._values.settled()[:] = centre
        sums = self._score().sum(axis=1, dtype=np.float64)
        return float(sums[0]), float(sums[1])


def plan_of(options: Options, images: int) -> Plan:
    """The work that the options ask for. Raises ProgramError where there is none."""
    steps = options.passes * (images // options.batch_size)
    if not steps:
        raise ProgramError(
            f"{images} training images do not fill a batch of {options.batch_size}",
            "take a smaller batch or more images",
        )
    waits, even = options.merge == ROUNDS, options.sizing == EQUAL
    sizing = Sizing(
        equal=options.task_steps if even else None,
        probe=options.probe_steps,
        most_seconds=None if waits else options.task_seconds,
        backups=options.backups,
    )
    return Plan(
        steps, options.batch_size, options.windows, options.round_steps if waits else None, sizing, even and waits,
        options.learning_rate, options.decay, options.decay_begins, options.oldest, options.largest,
    )  # fmt: skip


def _merging(options: Options, first: Floats) -> Merging:
    if options.merge != ROUNDS:
        return Arriving(first, options.mix)
    kind = RULES[options.rule]
    own = {name: getattr(options, name) for name in kind.options}
    return Rounds(first, kind(Shares((options.batch_size,), 0), first.size, **own))
