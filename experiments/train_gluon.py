"""The plainest MXNet loop: Gluon's own layers, iterator, loss, metric and trainer, on one node. `train.py` is held against it.

Takes `train.py`'s options; knows no other store than `none`, and does not validate.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from training import data, meters, options
from training.errors import ProgramError
from training.events import emit
from training.models import ARCHITECTURES, CLASSES, KERNEL, Architecture


def main(arguments: Sequence[str]) -> int:
    """Train; exit code 0, or 2 after an `error` event."""
    try:
        _train(options.parse(arguments))
    except ProgramError as error:
        emit("error", message=error.message, remedy=error.remedy)
        return 2
    return 0


def _train(chosen: options.Options) -> None:
    if chosen.kvstore != "none" or chosen.validation:
        raise ProgramError("the plain loop only trains, alone", "use --kvstore none --no-validation")
    start = time.perf_counter()
    architecture = ARCHITECTURES[chosen.model]
    dataset = data.load(chosen.dataset, chosen.data_dir, chosen.limit).enlarged(architecture.side)
    padding = (architecture.side - dataset.side) // 2
    images = np.pad(dataset.train.images, ((0, 0), (padding, padding), (padding, padding)))[:, np.newaxis]
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
        "ready",
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
            "epoch",
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
    """The architecture in the layers of `nn`, Gluon's module."""
    pooling = nn.AvgPool2D if architecture.pooling == "avg" else nn.MaxPool2D
    network = nn.HybridSequential()
    for filters in architecture.convolutions:
        network.add(nn.Conv2D(filters, KERNEL, activation="tanh"), pooling(2))
    for units in architecture.hidden:
        network.add(nn.Dense(units, activation="tanh"))
    network.add(nn.Dense(CLASSES))
    return network


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
