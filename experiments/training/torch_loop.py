"""The training loop on PyTorch: same batches, rates, validation and events as `loop.py`'s."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from . import schedule, sharding
from .checkpoint import Keeper
from .data import Dataset
from .options import Options
from .phases import BACKWARD, DATA, FORWARD, UPDATE
from .reporting import Epoch, Progress
from .sharding import Shares
from .stores.base import Vector
from .torch_group import Group
from .torch_network import Network

_VALIDATION_BATCH = 256


class Trainer:
    """One worker's run: `options` over its `shares` of `dataset` with `network`, whose gradients `group` averages."""

    def __init__(self, options: Options, dataset: Dataset, network: Network, group: Group, shares: Shares) -> None:
        self._options = options
        self._group = group
        self._shares = shares
        self._images = dataset.train
        self._network = network
        self._shared = group.wrap(network)
        self._target = schedule.scaled(options.learning_rate, options.learning_rate_scaling, group.workers)
        self._steps = sharding.steps_per_epoch(len(dataset.train.images), options.batch_size, group.workers)
        self._optimizer = torch.optim.SGD(network.parameters(), lr=self._target)
        first, end = sharding.validation_range(len(dataset.validation.images), shares)
        self._validation_images = torch.from_numpy(dataset.validation.images[first:end].copy())
        self._validation_labels = torch.from_numpy(dataset.validation.labels[first:end].astype(np.int64))
        self._progress = Progress(group.rank, self._steps)

    def run(self, finished: int = 0) -> None:
        """Train and validate every epoch after the `finished` ones, with an `epoch` event, and a checkpoint, after each."""
        keeper = Keeper(self._group.rank, shared=self._group.shared)
        for epoch in range(finished + 1, self._options.epochs + 1):
            self._epoch(epoch)
            keeper.keep(epoch, self._network.weights)

    def _epoch(self, epoch: int) -> None:
        cost = Epoch(self._group.phases)
        trained = self._train(epoch)
        cost.trained()
        validated = self._validate() if self._options.validation else np.zeros(3)
        cost.report(
            rank=self._group.rank,
            epoch=epoch,
            steps=self._steps,
            images=self._steps * self._shares.own,
            learning_rate=self._rate(epoch, self._steps - 1),
            sums=self._group.reduce(np.concatenate([trained, validated])),
            validated=self._options.validation,
        )

    def _rate(self, epoch: int, step: int) -> float:
        return schedule.at_step(self._target, (epoch - 1) * self._steps + step, self._options.warmup_steps)

    def _train(self, epoch: int) -> Vector:
        """Walk this worker's batches; sums of loss, right answers and images, as the forward passes saw them."""
        split, phases, own = self._images, self._group.phases, self._shares.own
        shard = sharding.epoch_shard(len(split.images), self._shares, seed=self._options.seed, epoch=epoch)
        weight = torch.tensor(self._group.weight(self._shares))
        images = torch.from_numpy(split.images[shard])
        labels = torch.from_numpy(split.labels[shard].astype(np.int64))
        phases.lap(DATA)
        loss_sum, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for step in range(self._steps):
            for settings in self._optimizer.param_groups:
                settings["lr"] = self._rate(epoch, step)
            self._optimizer.zero_grad()
            phases.rest()
            logits = self._shared(images[step])
            loss = functional.cross_entropy(logits, labels[step])
            phases.lap(FORWARD)
            loss.backward(weight)
            phases.lap(BACKWARD)
            self._optimizer.step()
            phases.lap(UPDATE)
            loss_sum += loss.detach()
            correct += (logits.argmax(1) == labels[step]).sum()
            self._progress.report(epoch, step)
        return np.array([float(loss_sum) * own, float(correct), self._steps * own])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _validate(self) -> Vector:
        """Sums of loss, right answers and images over this worker's part of the validation images."""
        sums = np.zeros(3)
        parts = (tensor.split(_VALIDATION_BATCH) for tensor in (self._validation_images, self._validation_labels))
        for images, labels in zip(*parts, strict=True):
            logits = self._network(images)
            loss = functional.cross_entropy(logits, labels, reduction="sum")
            sums += [float(loss), float((logits.argmax(1) == labels).sum()), len(labels)]
        return sums
