"""From command line to exit code, on PyTorch."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence

import numpy as np

from . import checkpoint, data, options, sharding
from .errors import ProgramError
from .events import emit
from .models import ARCHITECTURES, digest
from .reporting import Start

_EXIT_BAD_INPUT = 2


def main(arguments: Sequence[str]) -> int:
    """Be a worker; exit code 0, or 2 after an `error` event and the same words on stderr."""
    try:
        _work(options.parse(arguments))
    except ProgramError as error:
        emit("error", message=error.message, remedy=error.remedy)
        print(f"error: {error.message}\n  try: {error.remedy}", file=sys.stderr)
        return _EXIT_BAD_INPUT
    return 0


def _work(chosen: options.Options) -> None:
    """Train. Whatever can be wrong with runtime and data is found before the workers meet."""
    start = Start()
    if importlib.util.find_spec("torch") is None:
        raise ProgramError(
            "this node's runtime has no PyTorch", "provision it with PyTorch's wheel: docs/bench.md has the command"
        )
    if (chosen.synchronise_every, chosen.wire, chosen.threshold) != (1, "float32", None):
        raise ProgramError(
            "PyTorch's gloo exchanges float32 in every step here",
            "leave --synchronise-every, --wire and --threshold out",
        )
    architecture = ARCHITECTURES[chosen.model]
    dataset = data.load(chosen.dataset, chosen.data_dir, chosen.limit).enlarged(architecture.side)
    begun = checkpoint.beginning(architecture, chosen.seed)
    workers = int(os.environ.get("DMLC_NUM_WORKER", "1"))
    sharding.batch_sizes(os.environ, chosen.batch_size, workers)
    sharding.steps_per_epoch(len(dataset.train.images), chosen.batch_size, workers)
    start.loaded()

    import torch

    from .torch_group import Group
    from .torch_loop import Trainer
    from .torch_network import Network

    if threads := os.environ.get("OMP_NUM_THREADS"):  # without it, PyTorch takes one a core itself
        torch.set_num_threads(int(threads))
    start.imported()
    with Group(chosen.kvstore) as group:
        shares = sharding.shares(os.environ, chosen.batch_size, group.workers, group.rank)
        network = Network(architecture, dataset.side, dataset.deviation, begun.weights)
        trainer = Trainer(chosen, dataset, network, group, shares)
        start.ready(rank=group.rank, workers=group.workers, model=chosen.model, parameters=architecture.parameters())
        trainer.run(begun.epoch)
        trained = network.weights()
        if chosen.save_weights and group.rank == 0:
            np.savez(chosen.save_weights, **trained)  # type: ignore[arg-type]  # none is named allow_pickle
        emit("done", rank=group.rank, epochs=chosen.epochs, weights_sha256=digest(trained))
