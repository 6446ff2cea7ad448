"""From command line to exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import numpy as np
from contract import wire

from . import (
    checkpoint,
    datasets,
    engines,
    kvstores,
    memory,
    models,
    options,
    pipeline,
    schedule,
    sharding,
    towers,
    trial,
)
from .datasets import Dataset
from .engines import normalisation
from .engines.layout import laid_out_for
from .errors import ProgramError
from .estimates.traffic import split_layers
from .kvstores import KVStoreOptions
from .pipeline import Plan
from .reporting.epoch import Start
from .reporting.events import emit

_EXIT_BAD_INPUT = 2
_IMPLEMENTATION = "MXNET_KVSTORE_IMPLEMENTATION"  # the runtime looks at it when MXNet is imported
_PS_LITE_ROLE = "DMLC_ROLE"  # MXNet itself looks at it when it is imported


def main(arguments: Sequence[str]) -> int:
    """Run the process's role; exit code 0, or 2 after an `error` event and the same words on stderr."""
    return reported(_play, arguments)


def reported(work: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> int:
    """Do what a program does; exit code 0, or 2 after an `error` event and the same words on stderr."""
    try:
        work(arguments)
    except ProgramError as error:
        emit(wire.ERROR, message=error.message, remedy=error.remedy)
        print(f"error: {error.message}\n  try: {error.remedy}", file=sys.stderr)
        return _EXIT_BAD_INPUT
    return 0


def _play(arguments: Sequence[str]) -> None:
    chosen = options.parse(arguments)
    if implementation := chosen.own.get("kvstore_implementation"):
        os.environ[_IMPLEMENTATION] = implementation
    if os.environ.get(_PS_LITE_ROLE) in {"scheduler", "server"}:
        _serve()
    else:
        _work(chosen)


def _serve() -> None:
    """Be a scheduler or server of MXNet's store until the job has ended: importing MXNet in that role begins at once.

    MXNet's own is imported without it first, for that takes longer than what is measured. The native program needs no MXNet.
    """
    role = os.environ[_PS_LITE_ROLE]
    if not _is_native():
        del os.environ[_PS_LITE_ROLE]
        import mxnet
    emit(wire.READY, rank=trial.rank())
    os.environ[_PS_LITE_ROLE] = role
    import mxnet

    mxnet.kvstore.kvstore_server._init_kvstore_server_module()


def _is_native() -> bool:
    """Whether importing MXNet as a server makes this process the runtime's native program; a MXNet by itself has none."""
    runtime = sys.modules.get("_mxnet_compatibility")  # imported at the start of every interpreter of the runtime
    return runtime is not None and runtime._native_kvstore() is not None


def _work(chosen: options.Options) -> None:
    """Be a worker: whatever can be wrong with the data is found before the store is opened and others wait."""
    start = Start()
    asked = KVStoreOptions(chosen.synchronise_every, chosen.wire, chosen.threshold, chosen.rule, chosen.own)
    kvstores.check(chosen.kvstore, asked, chosen.engine)
    entry = datasets.named(chosen.dataset)
    architecture = models.load(chosen.model, entry.classes, entry.images)
    dataset = datasets.load(chosen.dataset, chosen.data_dir, chosen.limit)
    dataset = dataset.holding_out(chosen.holdout).fitted(architecture.side, architecture.channels)
    begun = checkpoint.beginning(architecture, chosen.seed)
    workers = trial.world_size()
    plan = _checked(architecture, dataset, chosen, workers)
    division = towers.planned(architecture, chosen, workers)
    start.loaded()

    derived = kvstores.environment(chosen.kvstore, architecture.sizes(), os.environ, chosen.engine)
    os.environ.update(derived)  # before the engine reads it
    engine = engines.load(chosen.engine)

    from .pipeline.measured import plan_by_time
    from .pipeline.store import PipelineKVStore, opened
    from .trainer import Trainer

    start.imported()
    rate = schedule.scaled(chosen.learning_rate, chosen.learning_rate_scaling, workers)
    with (
        opened(plan, chosen.own)
        if plan
        else kvstores.open_kvstore(
            chosen.kvstore, asked, engine=chosen.engine, batch_size=chosen.batch_size, rate=rate, finished=begun.epoch
        )
    ) as store:
        if isinstance(store, PipelineKVStore) and chosen.own["stage_times"] == pipeline.MEASURED:
            plan = plan_by_time(store, engine, architecture, dataset, begun.arrays, chosen)
        shares = sharding.shares(os.environ, chosen.batch_size, store.workers, store.rank)
        layout = laid_out_for(store, architecture, dataset, begun.arrays, chosen.accumulate, shares)
        model = engine.build(layout)
        factored = [layer.name for bucket in layout.buckets for layer in bucket.layers]
        split = [own.layer.name for own in layout.plan.slices.values()] if layout.plan else []
        begun.arrays.clear()  # the model has its own
        del layout  # and the rest of what holds them
        memory.in_pieces(shares.own, chosen.accumulate)
        store.attach(model, shares)
        memory.give_back()
        store.restore(begun.state)
        trainer = Trainer(chosen, dataset, model, store, shares)
        start.ready(
            rank=store.rank,
            workers=store.workers,
            model=chosen.model,
            parameters=architecture.parameters(),
            environment=derived,
            replaceable=store.replaceable,
            factored=factored,
            split=split,
            implementation=store.implementation,
            stage=plan.described(store.rank) if plan else None,
            tower=division.described(store.rank) if division else None,
        )
        trainer.run(begun.epoch)
        with store.shared_values():
            if chosen.save_weights and store.rank == 0:
                trained = model.weights() | model.statistics()
                np.savez(chosen.save_weights, **trained)  # type: ignore[arg-type]  # none is named allow_pickle
            digest = models.digest(model.weights())
        emit(wire.DONE, rank=store.rank, epochs=chosen.epochs, weights_sha256=digest)


def _checked(architecture: models.Architecture, dataset: Dataset, chosen: options.Options, workers: int) -> Plan | None:
    """A pipeline's plan, where it is one. Raises ProgramError for what cannot be."""
    shares = sharding.shares(os.environ, chosen.batch_size, workers, trial.rank())
    plan = pipeline.planned(architecture, chosen, workers)
    if plan:
        plan.shares(shares)
    split_layers(architecture, chosen, workers)
    normalisation.check(architecture, chosen.own)
    towers.planned(architecture, chosen, workers)
    sharding.steps_per_epoch(len(dataset.train.images), chosen.batch_size, workers)
    memory.check(architecture, dataset, chosen, os.environ)
    engines.require(chosen.engine)
    return plan
