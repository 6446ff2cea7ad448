"""The training loop: epochs of batches, then validation, then one event. The same for every engine, store and rule."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from . import schedule, sharding
from .checkpoint import Keeper
from .datasets import Dataset
from .datasets.augmentation import augmented
from .engines.base import Array, Model
from .kvstores import KVStore
from .options import Options
from .partition import Partition
from .reporting.epoch import Epoch, Progress
from .reporting.meters import Vector
from .reporting.phases import DATA
from .sharding import Shares

_AHEAD = 2  # steps enqueued beyond the one whose outcome is read: keeps the engine busy, and progress honest


class Trainer:
    """One worker's run: `options` over its `shares` of `dataset` with `model`, kept in step with the others by `store`."""

    def __init__(self, options: Options, dataset: Dataset, model: Model, store: KVStore, shares: Shares) -> None:
        self._options = options
        self._images = dataset.train
        self._model = model
        self._passes = store.passes(model, shares) or model
        self._store = store
        self._shares = shares
        self._target = schedule.scaled(options.learning_rate, options.learning_rate_scaling, store.workers)
        self._score = self._scorer(dataset) if options.validation else None
        self._steps = sharding.steps_per_epoch(
            len(dataset.train.images), options.batch_size, store.workers, options.epoch_steps
        )
        self._partition = Partition(
            options.shards, dataset.train.labels, store.walked(shares), seed=options.seed,
            pieces=options.label_pieces, concentration=options.concentration,
        )  # fmt: skip
        self._progress = Progress(store.rank, self._steps)

    def run(self, finished: int = 0) -> None:
        """Train and validate every epoch after the `finished` ones, with an `epoch` event, and a checkpoint, after each."""
        keeper = Keeper(self._store.rank, shared=self._store.shared)
        for epoch in range(finished + 1, self._options.epochs + 1):
            cost = Epoch(self._store.phases)
            trained = self._train(epoch)
            cost.trained()
            with self._store.shared_values():
                self._judge(epoch, cost, trained)
                keeper.keep(epoch, lambda: self._model.weights() | self._model.statistics(), self._store.state)

    def _judge(self, epoch: int, cost: Epoch, trained: Vector) -> None:
        """Validate, and say what the epoch was."""
        validated = self._validate()
        cost.report(
            rank=self._store.rank,
            epoch=epoch,
            steps=self._steps,
            images=self._steps * self._shares.own,
            learning_rate=self._rate(epoch, self._steps - 1),
            sums=self._store.reduce(np.concatenate([trained, validated])),
            validated=self._options.validation,
        )

    def _rate(self, epoch: int, step: int) -> float:
        options, done = self._options, (epoch - 1) * self._steps + step
        factor = schedule.decay(options.decay, done, options.epochs * self._steps, options.decay_begins)
        return schedule.at_step(self._target, done, options.warmup_steps) * factor

    def _train(self, epoch: int) -> Vector:
        """Walk this worker's batches; sums of loss, right answers and images, as the forward passes saw them."""
        model, store, phases = self._model, self._store, self._store.phases
        model.begin_epoch(sharding.epoch_seed(self._shares, seed=self._options.seed, epoch=epoch))
        shard = self._partition.epoch(epoch)[: self._steps]
        images = augmented(
            self._images.images, shard, self._options.augmentation,
            count=len(self._images.images), seed=self._options.seed, epoch=epoch,
        )  # fmt: skip
        batches = model.batches(images, self._images.labels[shard])
        phases.lap(DATA)
        outcomes: deque[Array] = deque()
        sums = np.zeros(2)
        for step, batch in enumerate(batches):
            rate = self._rate(epoch, step)
            store.announce(rate)
            if phases.begin_step(step, self._steps):
                model.wait()
            phases.rest()
            outcomes.append(self._passes.train(batch, store))
            store.step(rate)
            if len(outcomes) > _AHEAD:
                sums += self._passes.read(outcomes.popleft())
                self._progress.report(epoch, step)
        for outcome in outcomes:
            sums += self._passes.read(outcome)
        phases.rest()
        store.settle()
        if epoch == self._options.epochs:
            store.finish()
        model.wait()
        phases.rest()
        return np.append(sums, self._steps * self._shares.own)

    def _scorer(self, dataset: Dataset) -> Callable[[], npt.NDArray[np.float32]]:
        """Of this worker's part of the validation images."""
        split = dataset.validation
        first, end = sharding.validation_range(len(split.images), self._shares)
        return self._model.scorer(split.images[first:end], split.labels[first:end])

    def _validate(self) -> Vector:
        """Sums of loss, right answers and images; zeros where nothing is validated."""
        if self._score is None:
            return np.zeros(3)
        per_image = self._score()
        return np.append(per_image.sum(axis=1, dtype=np.float64), per_image.shape[1])
