"""A volunteer: it asks for tasks, does each by itself, and sends back what that changed."""

from __future__ import annotations

import os
import socket
import threading
import time

import numpy as np
from contract import wire
from training import trial
from training.engines.base import Floats
from training.errors import ProgramError
from training.kvstores import KVStoreOptions
from training.kvstores.allreduce.links.handshake import HANDSHAKE_SECONDS, RefusedError, introduce
from training.kvstores.independent import IndependentKVStore
from training.kvstores.registration import Opening
from training.online.setup import Setup, set_up
from training.reporting import meters
from training.reporting.epoch import Start
from training.reporting.events import emit
from training.sharding import Indices, Shares, epoch_shard
from training.trial import Seat

from .messages import BrokenError, Line, Result, Task, task_of
from .options import Options, moments

_RETRY_SECONDS = 0.2


def volunteer(options: Options, seat: Seat) -> None:
    """Do tasks until the coordinator has no more, or is gone. Raises ProgramError where it cannot be found."""
    start = Start()
    made = set_up(
        start, engine=options.engine, model=options.model, dataset=options.dataset, data_dir=options.data_dir,
        limit=options.limit, seed=options.seed,
    )  # fmt: skip
    worker = Worker(options, made)
    worker.do(Task(0, 0, 1, 0.0, 1), worker.values())  # what only the first step of a process takes is no rate
    start.ready(
        rank=seat.rank + 1, workers=1, model=options.model, parameters=made.architecture.parameters(),
        environment=made.environment,
    )  # fmt: skip
    time.sleep(moments(options.comes).get(seat.rank, 0.0))
    if (after := moments(options.goes).get(seat.rank)) is not None:
        timer = threading.Timer(after, _vanish)
        timer.daemon = True
        timer.start()
    line = Line(_connected(seat, options.patience), worker.values().size)
    costs = Costs(seat.rank + 1)
    try:
        line.say("hello", {"node": os.environ.get(wire.NODE, "")})
        while True:
            head, values = line.hear()
            if head["kind"] == "end":
                break
            task = task_of(head)
            costs.begin(task.of_window)
            result, change = worker.do(task, values)
            costs.add(result)
            line.say("result", result, change)
    except BrokenError as error:
        print(f"the coordinator is gone: {error}", flush=True)
    finally:
        line.close()
        costs.end()


def _vanish() -> None:
    print("this volunteer goes, as it was told to", flush=True)
    os._exit(0)


class Worker:
    """One node's model, which begins every task with the values that came with it."""

    def __init__(self, options: Options, made: Setup) -> None:
        self._options = options
        self._made = made
        self._memory = made.model.memory(made.model.parameters[0].value)
        self._shares = Shares((options.batch_size,), 0)
        self._orders: dict[int, Indices] = {}
        self._per_pass = len(made.dataset.train.images) // options.batch_size

    def values(self) -> Floats:
        """The model's.

        Returns:
            (n,) float32, no unit.
        """
        return self._memory.settled()

    def do(self, task: Task, values: Floats) -> tuple[Result, Floats]:
        """Train alone, momentum from 0.

        Args:
            task: which steps of the run, and the rate.
            values: (n,) float32, no unit: to begin with.

        Returns:
            what to say of it, and (n,) float32, no unit: what it changed.
        """
        model, options = self._made.model, self._options
        began = time.perf_counter()
        self._memory.settled()[:] = values
        asked = KVStoreOptions(own={"momentum": options.momentum, "nesterov": options.nesterov})
        alone = IndependentKVStore(Opening(self._made.engine, asked, options.batch_size, task.rate, 0))
        alone.attach(model, self._shares)
        chosen = np.stack([self._images(step) for step in range(task.first, task.first + task.steps)])
        train, sums = self._made.dataset.train, np.zeros(2)
        for batch in model.batches(train.images[chosen], train.labels[chosen]):
            outcome = model.train(batch, alone)
            alone.step(task.rate)
            sums += model.read(outcome)
        model.wait()
        change: Floats = self._memory.settled() - values
        seconds = time.perf_counter() - began
        return Result(task.version, task.first, task.steps, chosen.size, seconds, float(sums[0])), change

    def _images(self, step: int) -> Indices:
        """Of a step of the run: each pass has a shuffle of its own, the same on all nodes."""
        number = step // self._per_pass + 1
        if number not in self._orders:
            images = len(self._made.dataset.train.images)
            self._orders = {number: epoch_shard(images, self._shares, seed=self._options.seed, epoch=number)}
        images_of_step: Indices = self._orders[number][step % self._per_pass]
        return images_of_step


class Costs:
    """A row of every window in which this volunteer had a task."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._window: int | None = None

    def begin(self, window: int) -> None:
        """A task begins in a window."""
        if window != self._window:
            self.end()
            self._window, self._before = window, meters.read()
            self._steps = self._images = 0
            self._seconds = self._loss = 0.0

    def add(self, result: Result) -> None:
        """It is done."""
        self._steps += result.steps
        self._images += result.images
        self._seconds += result.seconds
        self._loss += result.loss

    def end(self) -> None:
        """The window is over."""
        if self._window is not None and self._images:
            emit(
                wire.EPOCH,
                rank=self._rank,
                epoch=self._window,
                steps=self._steps,
                images=self._images,
                train_seconds=self._seconds,
                train_loss=self._loss / self._images,
                **(meters.read() - self._before).as_values(),
            )
        self._window = None


def _connected(seat: Seat, patience: float) -> socket.socket:
    """A connection to the coordinator, which may still be starting."""
    reason: Exception = TimeoutError("no time left")
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            connection = socket.create_connection(seat.root, HANDSHAKE_SECONDS, (seat.host, 0))
        except OSError as error:
            reason = error
            time.sleep(_RETRY_SECONDS)
            continue
        try:
            introduce(connection, seat, 0, 0)
        except RefusedError as error:
            connection.close()
            raise ProgramError(
                f"{seat.root[0]}:{seat.root[1]} is no coordinator of this trial: {error}",
                "let no other trial use this port",
            ) from error
        except OSError as error:
            connection.close()
            reason = error
            time.sleep(_RETRY_SECONDS)
            continue
        return connection
    raise ProgramError(
        f"no coordinator answers at {seat.root[0]}:{seat.root[1]} ({reason})",
        "see its log, and whether its node's firewall lets the trial's ports through",
    )


def seat_of(rank: int) -> Seat:
    """Where this rank is, and where the coordinator. Raises ProgramError naming what is missing."""
    names = (wire.TRIAL_TOKEN, wire.ROOT_ADDRESS, wire.ROOT_PORT, wire.NODE_ADDRESS)
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise ProgramError(
            f"volunteers need {', '.join(missing)} in the environment",
            "start the program through `harness sweep`, which sets them",
        )
    token, address, port, host = (os.environ[name] for name in names)
    return Seat(rank, trial.world_size(), host, (address, int(port)), token.encode())
