"""The training loop: epochs of batches, then validation, then one event."""

from __future__ import annotations

from collections import deque
from typing import Any

import mxnet as mx
import numpy as np
import numpy.typing as npt

from . import schedule, sharding
from .checkpoint import Keeper
from .data import Dataset, Split
from .network import Network
from .options import Options
from .phases import DATA
from .reporting import Epoch, Progress
from .sharding import Shares
from .stores.base import Array, Store, Vector

_AHEAD = 2  # steps enqueued beyond the one whose outcome is read: keeps the engine busy, and progress honest
_VALIDATION_BATCH = 256


class Trainer:
    """One worker's run: `options` over its `shares` of `dataset` with `network`, kept in step with the others by `store`."""

    def __init__(self, options: Options, dataset: Dataset, network: Network, store: Store, shares: Shares) -> None:
        self._options = options
        self._images = dataset.train
        self._network = network
        self._store = store
        self._shares = shares
        self._target = schedule.scaled(options.learning_rate, options.learning_rate_scaling, store.workers)
        self._validation = _Validation(dataset.validation, shares) if options.validation else None
        self._steps = sharding.steps_per_epoch(len(dataset.train.images), options.batch_size, store.workers)
        self._progress = Progress(store.rank, self._steps)

    def run(self, finished: int = 0) -> None:
        """Train and validate every epoch after the `finished` ones, with an `epoch` event, and a checkpoint, after each."""
        keeper = Keeper(self._store.rank, shared=self._store.shared)
        for epoch in range(finished + 1, self._options.epochs + 1):
            self._epoch(epoch)
            keeper.keep(epoch, self._network.weights)

    def _epoch(self, epoch: int) -> None:
        cost = Epoch(self._store.phases)
        trained = self._train(epoch)
        cost.trained()
        validated = self._validation.run(self._network) if self._validation else np.zeros(3)
        cost.report(
            rank=self._store.rank,
            epoch=epoch,
            steps=self._steps,
            images=self._steps * self._shares.own,
            learning_rate=self._rate(epoch, self._steps - 1),
            sums=self._store.reduce(np.concatenate([trained, validated])),
            validated=self._validation is not None,
        )

    def _rate(self, epoch: int, step: int) -> float:
        return schedule.at_step(self._target, (epoch - 1) * self._steps + step, self._options.warmup_steps)

    def _train(self, epoch: int) -> Vector:
        """Walk this worker's batches; sums of loss, right answers and images, as the forward passes saw them."""
        network, store, phases = self._network, self._store, self._store.phases
        images, labels = self._batches(epoch)
        phases.lap(DATA)
        outcomes: deque[Array] = deque()
        sums = np.zeros(2)
        for step in range(self._steps):
            rate = self._rate(epoch, step)
            store.announce(rate)
            if phases.begin_step(step, self._steps):
                mx.nd.waitall()
            phases.rest()
            outcomes.append(network.train(images[step], labels[step], store))
            store.step(rate)
            if len(outcomes) > _AHEAD:
                sums += outcomes.popleft().asnumpy()
                self._progress.report(epoch, step)
        for outcome in outcomes:
            sums += outcome.asnumpy()
        phases.rest()
        store.settle()
        mx.nd.waitall()
        phases.rest()
        return np.append(sums, self._steps * self._shares.own)

    def _batches(self, epoch: int) -> tuple[list[Array], list[Array]]:
        """This worker's images and labels in the epoch's order, gathered once, and a view of each batch."""
        split = self._images
        shard = sharding.epoch_shard(len(split.images), self._shares, seed=self._options.seed, epoch=epoch)
        images = mx.nd.from_numpy(split.images[shard])
        labels = mx.nd.from_numpy(split.labels[shard].astype(np.float32))
        return list(images), list(labels)


class _Validation:
    """This worker's part of the validation images, in batches of one shape: the last is filled up."""

    def __init__(self, split: Split, shares: Shares) -> None:
        first, end = sharding.validation_range(len(split.images), shares)
        self._count = end - first
        missing = -self._count % _VALIDATION_BATCH
        chosen = np.append(np.arange(first, end), np.zeros(missing, np.int64))
        self._images = self._batched(split.images[chosen])
        self._labels = self._batched(split.labels[chosen].astype(np.float32))

    @staticmethod
    def _batched(array: npt.NDArray[Any]) -> list[Array]:
        return list(mx.nd.from_numpy(array.reshape(-1, _VALIDATION_BATCH, *array.shape[1:])))

    def run(self, network: Network) -> Vector:
        """Sums of loss, right answers and images."""
        if not self._count:
            return np.zeros(3)
        outcomes = [network.validate(*batch) for batch in zip(self._images, self._labels, strict=True)]
        per_image = np.concatenate([outcome.asnumpy() for outcome in outcomes], axis=1)[:, : self._count]
        return np.append(per_image.sum(axis=1, dtype=np.float64), self._count)
