"""The training loop on PyTorch: same batches, rates, validation and events as `loop.py`'s."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch.nn import functional

from . import meters, schedule, sharding
from .data import Dataset
from .events import emit
from .options import Options
from .stores.base import Vector
from .torch_group import Group
from .torch_network import Network

_VALIDATION_BATCH = 256
_PROGRESS_SECONDS = 1.0


class Trainer:
    """One worker's run: `options` over `dataset` with `network`, whose gradients `group` averages."""

    def __init__(self, options: Options, dataset: Dataset, network: Network, group: Group) -> None:
        self._options = options
        self._group = group
        self._images = dataset.train
        self._network = network
        self._shared = group.wrap(network)
        self._target = schedule.scaled(options.learning_rate, options.learning_rate_scaling, group.workers)
        self._steps = sharding.steps_per_epoch(len(dataset.train.images), options.batch_size, group.workers)
        self._optimizer = torch.optim.SGD(network.parameters(), lr=self._target)
        first, end = sharding.validation_range(len(dataset.validation.images), group.rank, group.workers)
        self._validation_images = torch.from_numpy(dataset.validation.images[first:end].copy())
        self._validation_labels = torch.from_numpy(dataset.validation.labels[first:end].astype(np.int64))
        self._next_progress = 0.0

    def run(self) -> None:
        """Train and validate every epoch, with an `epoch` event after each."""
        for epoch in range(1, self._options.epochs + 1):
            self._epoch(epoch)

    def _epoch(self, epoch: int) -> None:
        meter, start = meters.read(), time.perf_counter()
        trained = self._train(epoch)
        trained_at = time.perf_counter()
        validated = self._validate() if self._options.validation else np.zeros(3)
        sums = self._group.reduce(np.concatenate([trained, validated]))
        validated_at, spent = time.perf_counter(), meters.read() - meter
        emit(
            "epoch",
            rank=self._group.rank,
            epoch=epoch,
            steps=self._steps,
            images=self._steps * self._options.batch_size,
            train_seconds=trained_at - start,
            validation_seconds=validated_at - trained_at if self._options.validation else 0.0,
            wait_seconds=None,  # it is inside backward, which PyTorch does not take apart
            cpu_seconds=spent.cpu_seconds,
            learning_rate=self._rate(epoch, self._steps - 1),
            **meters.means("train", sums[:3]),
            **meters.means("validation", sums[3:]),
            bytes_sent=spent.bytes_sent,
            bytes_received=spent.bytes_received,
        )

    def _rate(self, epoch: int, step: int) -> float:
        return schedule.at_step(self._target, (epoch - 1) * self._steps + step, self._options.warmup_steps)

    def _train(self, epoch: int) -> Vector:
        """Walk this worker's batches; sums of loss, right answers and images, as the forward passes saw them."""
        options, group, split = self._options, self._group, self._images
        shard = sharding.epoch_shard(
            len(split.images),
            options.batch_size,
            rank=group.rank,
            workers=group.workers,
            seed=options.seed,
            epoch=epoch,
        )
        images = torch.from_numpy(split.images[shard])
        labels = torch.from_numpy(split.labels[shard].astype(np.int64))
        loss_sum, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for step in range(self._steps):
            for settings in self._optimizer.param_groups:
                settings["lr"] = self._rate(epoch, step)
            self._optimizer.zero_grad()
            logits = self._shared(images[step])
            loss = functional.cross_entropy(logits, labels[step])
            loss.backward()
            self._optimizer.step()
            loss_sum += loss.detach()
            correct += (logits.argmax(1) == labels[step]).sum()
            self._report(epoch, step)
        batch_size = options.batch_size
        return np.array([float(loss_sum) * batch_size, float(correct), self._steps * batch_size])

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

    def _report(self, epoch: int, step: int) -> None:
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + _PROGRESS_SECONDS
            emit("progress", rank=self._group.rank, epoch=epoch, step=step + 1, steps=self._steps)
