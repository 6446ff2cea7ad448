"""The plainest MXNet loop: Gluon's own layers, iterator, loss, metric and trainer, on one node. `train.py` is held against it.

Its options are in `train_gluon.program.yaml`; it does not validate.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the package `training` is

from contract import wire
from training import datasets, models
from training.errors import ProgramError
from training.models import Architecture
from training.models.architecture import PlacedLayer
from training.models.layers import Activation, Convolution, Dense, Pooling
from training.options import data_directory
from training.options.command_line import parse
from training.options.description import described
from training.reporting import meters
from training.reporting.events import emit


def main(arguments: Sequence[str]) -> int:
    """Train; exit code 0, or 2 after an `error` event."""
    try:
        _train(argparse.Namespace(**parse(described(Path(__file__).name), arguments)))
    except ProgramError as error:
        emit(wire.ERROR, message=error.message, remedy=error.remedy)
        return 2
    return 0


def _train(chosen: argparse.Namespace) -> None:
    if chosen.validation:
        raise ProgramError("the plain loop only trains", "use --no-validation")
    start = time.perf_counter()
    entry = datasets.named(chosen.dataset)
    architecture = models.load(chosen.model, entry.classes, entry.images)
    dataset = datasets.load(chosen.dataset, data_directory(chosen.data_dir), chosen.limit)
    dataset = dataset.fitted(architecture.side, architecture.channels)
    padding = (architecture.side - dataset.side) // 2
    images = dataset.train.images.reshape(-1, dataset.channels, dataset.side, dataset.side)
    images = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    loaded = time.perf_counter()

    import mxnet as mx
    from mxnet import autograd, gluon

    imported = time.perf_counter()
    mx.random.seed(chosen.seed)
    np.random.seed(chosen.seed)  # the iterator shuffles with NumPy's global state
    batches = mx.io.NDArrayIter(
        images.astype(np.float32) / np.float32(dataset.deviation),
        dataset.train.labels.astype(np.float32),
        chosen.batch_size,
        shuffle=True,
        last_batch_handle="discard",
    )
    network = _network(architecture, gluon.nn)
    network.initialize(mx.init.Xavier())
    network.hybridize()
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(network.collect_params(), "sgd", {"learning_rate": chosen.learning_rate})
    accuracy, mean_loss = mx.metric.Accuracy(), mx.metric.Loss()
    emit(
        wire.READY,
        rank=0,
        workers=1,
        model=chosen.model,
        parameters=architecture.parameters(),
        import_seconds=imported - loaded,
        data_seconds=loaded - start,
        store_seconds=time.perf_counter() - imported,
    )
    for epoch in range(1, chosen.epochs + 1):
        meter, began, steps = meters.read(), time.perf_counter(), 0
        batches.reset()
        accuracy.reset()
        mean_loss.reset()
        for batch in batches:
            with autograd.record():
                outputs = network(batch.data[0])
                loss = loss_of(outputs, batch.label[0])
            loss.backward()
            trainer.step(chosen.batch_size)
            accuracy.update(batch.label[0], outputs)
            mean_loss.update(None, loss)
            steps += 1
        mx.nd.waitall()
        ended, spent = time.perf_counter(), meters.read() - meter
        emit(
            wire.EPOCH,
            rank=0,
            epoch=epoch,
            steps=steps,
            images=steps * chosen.batch_size,
            train_seconds=ended - began,
            validation_seconds=0.0,
            wait_seconds=0.0,
            cpu_seconds=spent.cpu_seconds,
            learning_rate=chosen.learning_rate,
            train_loss=float(mean_loss.get()[1]),
            train_accuracy=float(accuracy.get()[1]),
            validation_loss=None,
            validation_accuracy=None,
            bytes_sent=spent.bytes_sent,
            bytes_received=spent.bytes_received,
        )


def _network(architecture: Architecture, nn: Any) -> Any:
    """The architecture in the layers of `nn`, Gluon's module; an activation is its layer's own."""
    network = nn.HybridSequential()
    for placed, following in zip(architecture.placed, (*architecture.placed[1:], None), strict=True):
        activation = following.layer.kind if following and isinstance(following.layer, Activation) else None
        if (layer := _layer(placed, activation, nn)) is not None:
            network.add(layer)
    return network


def _layer(placed: PlacedLayer, activation: str | None, nn: Any) -> Any:
    """One of Gluon's layers; None for an activation. Raises ProgramError for what the plain loop does not know."""
    match placed.layer:
        case Convolution(filters, kernel, stride, padding, bias):
            return nn.Conv2D(filters, kernel, stride, padding, use_bias=bias, activation=activation)
        case Pooling(kind, int(size), stride, padding, rounding):
            pooling = nn.AvgPool2D if kind == "average" else nn.MaxPool2D
            return pooling(size, stride, padding, ceil_mode=rounding == "up")
        case Dense(units, bias):
            return nn.Dense(units, use_bias=bias, activation=activation)
        case Activation():
            return None
    kind = type(placed.layer).__name__.lower()
    raise ProgramError(f"the plain loop has no layer of the kind {kind}", "use train.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
