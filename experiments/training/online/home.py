"""One home's run: it tests each tick's images on its model, trains on them, and shares its model now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from contract import wire

from .. import models, trial
from ..datasets import Dataset, Split
from ..datasets.dataset import Bytes
from ..engines.base import Engine, Model
from ..kvstores import KVStoreOptions
from ..kvstores.allreduce.links import Links
from ..kvstores.independent import IndependentKVStore
from ..kvstores.registration import Opening
from ..options.command_line import parse
from ..options.description import described
from ..partition import Partition
from ..reporting.epoch import Epoch, Start
from ..reporting.events import emit
from ..rules import RULES
from ..rules.average import Average
from ..sharding import Shares
from ..trial import Seat
from .setup import set_up
from .sharing import Alarm, Circle, Policy, meeting_bytes, ticks_within
from .stream import Reservoir, Stream
from .world import Calendar, World

PROGRAM = "online.py"
ALONE = "alone"


@dataclass(frozen=True)
class Options:
    """What is asked of the program, as `online.program.yaml` says it."""

    engine: str
    model: str
    dataset: str
    data_dir: str | None
    batch_size: int
    learning_rate: float
    momentum: float
    nesterov: bool
    windows: int
    window_ticks: int
    tick_seconds: float
    paced: bool
    changes: str | None
    shards: str
    label_pieces: int
    concentration: float
    strategy: str
    share_every: int
    budget: float | None
    alarm: float | None
    alert_every: int
    alert_ticks: int
    outer_momentum: float
    outer_rate: float
    outer_nesterov: bool
    wire: str
    personal_head: bool
    replay: int
    replay_memory: int
    judged: int
    seed: int
    limit: int | None


def work(arguments: Sequence[str]) -> None:
    """Be a home. Raises ProgramError."""
    start = Start()
    options = Options(**parse(described(PROGRAM), arguments))  # type: ignore[arg-type]
    calendar = Calendar.read(options.changes)
    made = set_up(
        start, engine=options.engine, model=options.model, dataset=options.dataset, data_dir=options.data_dir,
        limit=options.limit, seed=options.seed, head=2 if options.personal_head else 0,
    )  # fmt: skip
    home = Home(options, calendar, made.dataset, made.model, made.engine)
    start.ready(
        rank=home.rank,
        workers=home.homes,
        model=options.model,
        parameters=made.architecture.parameters(),
        environment=made.environment,
    )
    home.run()
    emit(wire.DONE, rank=home.rank, epochs=options.windows, weights_sha256=models.digest(made.model.weights()))


class Home:
    """One node's model, stream and memory; it trains alone, and meets the others when the policy says so."""

    def __init__(self, options: Options, calendar: Calendar, dataset: Dataset, model: Model, engine: Engine) -> None:
        self._options = options
        self._calendar = calendar
        self._dataset = dataset
        self._model = model
        self.rank, self.homes = trial.rank(), trial.world_size()
        shares = Shares((options.batch_size,) * self.homes, self.rank)
        method = {"momentum": options.momentum, "nesterov": options.nesterov}
        asked = KVStoreOptions(own=method)
        self._alone = IndependentKVStore(Opening(engine, asked, options.batch_size, options.learning_rate, 0))
        self._alone.attach(model, shares)
        partition = Partition(
            options.shards, dataset.train.labels, shares, seed=options.seed, pieces=options.label_pieces,
            concentration=options.concentration,
        )  # fmt: skip
        self._stream = Stream(dataset.train, partition, calendar, dataset.classes)
        self._memory = Reservoir(options.replay_memory, options.seed + self.rank)
        self._alarm = Alarm(options.alarm) if options.alarm else None
        self._circle: Circle | None = None
        self._links: Links | None = None
        if options.strategy != ALONE:
            self._join(shares)

    def _join(self, shares: Shares) -> None:
        """Find the other homes; all begin with the same values, as the seed says them."""
        options, shared = self._options, self._model.memory(self._model.parameters[0].value)
        size = shared.settled().size
        kind: type[Average] = RULES[options.strategy]  # type: ignore[assignment]  # both strategies' rules are such
        own = {name: getattr(options, name) for name in kind.options}
        self._links = Links(Seat.from_environment(), 1, phases=self._alone.phases)
        self._circle = Circle(self._links, shared, kind(shares, size, **own), options.wire)
        every = options.share_every
        if options.budget is not None:
            every = ticks_within(options.budget, meeting_bytes(size, self.homes, options.wire), options.tick_seconds)
        self._policy = Policy(every, options.alert_every, options.alert_ticks)

    def run(self) -> None:
        """All windows, an `epoch` event and a `window` event after each."""
        began, meetings = time.monotonic(), 0
        for window in range(1, self._options.windows + 1):
            cost, sums = Epoch(self._alone.phases), np.zeros(3)
            first = (window - 1) * self._options.window_ticks
            for tick in range(first + 1, first + self._options.window_ticks + 1):
                if self._options.paced:
                    time.sleep(max(0.0, began + tick * self._options.tick_seconds - time.monotonic()))
                sums += self._live(tick)
                meetings += self._share(self._last_loss)
            cost.trained()
            self._say(window, first + self._options.window_ticks, cost, sums, meetings)
        if self._links is not None:
            self._links.close()

    def _live(self, tick: int) -> np.ndarray:
        """One tick: the forward pass that tests the images is that of the step on them. Sums of loss, right answers, images."""
        images, labels = self._stream.tick(tick)
        outcome = self._learn(images, labels)
        self._last_loss = outcome[0] / len(labels)
        if self._options.replay:
            self._memory.take(images, labels)
            for _ in range(self._options.replay):
                self._learn(*self._memory.draw(self._options.batch_size))
        return np.append(outcome, len(labels))

    def _learn(self, images: Bytes, labels: Bytes) -> np.ndarray:
        """A step; loss and right answers before it."""
        (batch,) = self._model.batches(images[None], labels[None])
        outcome = self._model.read(self._model.train(batch, self._alone))
        self._alone.step(self._options.learning_rate)
        return outcome

    def _share(self, loss: float) -> bool:
        """Meet, where the policy says so; whether there was a meeting."""
        if self._circle is None:
            return False
        alarmed = self._alarm is not None and self._circle.any(self._alarm.hear(loss))
        if not self._policy.due(alarmed):
            return False
        self._circle.meet()
        return True

    def _say(self, window: int, tick: int, cost: Epoch, sums: np.ndarray, meetings: int) -> None:
        """Judge the model on images of all classes, as the world is and as it was, and print both events."""
        before = self._calendar.before(tick)
        with self._circle.shared_values() if self._circle else nullcontext():
            now = self._judge(self._calendar.world(tick))
            old = None if before is None else self._judge(before)
        cost.report(
            rank=self.rank,
            epoch=window,
            steps=self._options.window_ticks,
            images=int(sums[2]),
            learning_rate=self._options.learning_rate,
            sums=np.concatenate([sums, now]),
            validated=True,
        )
        emit(
            wire.WINDOW,
            rank=self.rank,
            window=window,
            tick=tick,
            stream_seconds=tick * self._options.tick_seconds,
            own_accuracy=sums[1] / sums[2],
            all_accuracy=now[1] / now[2],
            old_accuracy=None if old is None else old[1] / old[2],
            changes=list(self._calendar.world(tick).changes),
            changed=len(self._calendar.world(tick).changes),
            meetings=meetings,
        )

    def _judge(self, world: World) -> np.ndarray:
        """Sums of loss, right answers and images of the first validation images, in a world."""
        split: Split = self._dataset.validation
        count = min(self._options.judged, len(split.images))
        seen = world.seen(split.images[:count], split.labels[:count], self._dataset.classes)
        score: Callable[[], np.ndarray] = self._model.scorer(*seen)
        per_image = score()
        return np.append(per_image.sum(axis=1, dtype=np.float64), count)
