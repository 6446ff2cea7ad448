"""From command line to exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import numpy as np

from . import checkpoint, data, options, schedule, sharding, stores
from .errors import ProgramError
from .events import emit
from .models import ARCHITECTURES, digest
from .reporting import Start

_EXIT_BAD_INPUT = 2


def main(arguments: Sequence[str]) -> int:
    """Run the process's role; exit code 0, or 2 after an `error` event and the same words on stderr."""
    try:
        chosen = options.parse(arguments)
        if os.environ.get("DMLC_ROLE") in {"scheduler", "server"}:
            _serve()
        else:
            _work(chosen)
    except ProgramError as error:
        emit("error", message=error.message, remedy=error.remedy)
        print(f"error: {error.message}\n  try: {error.remedy}", file=sys.stderr)
        return _EXIT_BAD_INPUT
    return 0


def _serve() -> None:
    """Be a scheduler or server of MXNet's store: importing MXNet in that role blocks until the job has ended."""
    import mxnet  # noqa: F401


def _work(chosen: options.Options) -> None:
    """Be a worker: whatever can be wrong with the data is found before the store is opened and others wait."""
    start = Start()
    exchange = stores.Exchange(chosen.synchronise_every, chosen.wire, chosen.threshold)
    exchange.check(chosen.kvstore)
    architecture = ARCHITECTURES[chosen.model]
    dataset = data.load(chosen.dataset, chosen.data_dir, chosen.limit).enlarged(architecture.side)
    begun = checkpoint.beginning(architecture, chosen.seed)
    workers = int(os.environ.get("DMLC_NUM_WORKER", "1"))
    sharding.batch_sizes(os.environ, chosen.batch_size, workers)
    sharding.steps_per_epoch(len(dataset.train.images), chosen.batch_size, workers)
    start.loaded()

    derived = stores.environment(chosen.kvstore, architecture.sizes(), os.environ)
    os.environ.update(derived)  # before MXNet reads it

    from .loop import Trainer
    from .network import Network

    start.imported()
    rate = schedule.scaled(chosen.learning_rate, chosen.learning_rate_scaling, workers)
    with stores.open_store(
        chosen.kvstore, exchange, batch_size=chosen.batch_size, rate=rate, finished=begun.epoch
    ) as store:
        network = Network(architecture, dataset.side, dataset.deviation)
        buckets = store.buckets(architecture.sizes())
        shares = sharding.shares(os.environ, chosen.batch_size, store.workers, store.rank)
        store.attach(network.lay_out(begun.weights, buckets, by_parts=store.by_parts), shares)
        trainer = Trainer(chosen, dataset, network, store, shares)
        start.ready(
            rank=store.rank,
            workers=store.workers,
            model=chosen.model,
            parameters=architecture.parameters(),
            environment=derived,
            replaceable=store.replaceable,
        )
        trainer.run(begun.epoch)
        trained = network.weights()
        if chosen.save_weights and store.rank == 0:
            np.savez(chosen.save_weights, **trained)  # type: ignore[arg-type]  # none is named allow_pickle
        emit("done", rank=store.rank, epochs=chosen.epochs, weights_sha256=digest(trained))
