"""A cut by how long layers take on worker 0's node, instead of by what they multiply."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import numpy as np

from .. import memory
from ..datasets import Dataset
from ..engines.base import Engine, Model, Stage
from ..engines.layout import laid_out
from ..models import Architecture
from ..reporting.meters import Vector
from .cut import block_layers
from .plan import Plan, planned
from .store import PipelineKVStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..models import Weights
    from ..options import Options

_ROUNDS = 5
"""Of which the first is not counted, and the quickest is taken: other work on the node only makes them longer."""


def plan_by_time(
    store: PipelineKVStore,
    engine: Engine,
    architecture: Architecture,
    dataset: Dataset,
    arrays: Mapping[str, Weights],
    chosen: Options,
) -> Plan:
    """The plan that all workers follow from now on: worker 0 measures, the others wait.

    Raises ProgramError where a stage then needs more memory than the node has.

    Args:
        store: opened; told of the plan.
        engine: computes.
        architecture: of the model.
        dataset: whose first images are computed.
        arrays: trained values and statistics by name: as `Architecture.shapes` gives, float32, no unit.
        chosen: the program's options.
    """
    count = len(block_layers(architecture))
    micro_batch = chosen.batch_size * int(chosen.own["stages"]) // int(chosen.own["micro_batches"])
    seconds = np.zeros(count)
    if store.rank == 0:
        layout = laid_out(architecture, dataset, arrays, [len(architecture.arrays)])
        seconds = block_seconds(engine.build(layout), architecture, dataset, micro_batch)
    plan = planned(architecture, chosen, store.workers, list(store.reduce(seconds)))
    assert plan  # noqa: S101 - the store is a pipeline's
    memory.check(architecture, dataset, chosen, os.environ, plan)
    store.follow(plan)
    return plan


def block_seconds(model: Model, architecture: Architecture, dataset: Dataset, images: int) -> Vector:
    """How long each block takes, forward and backward.

    Args:
        model: its gradients and statistics change.
        architecture: of the model.
        dataset: whose first images are computed.
        images: of a micro-batch.

    Returns:
        (blocks,) float64, in seconds.
    """
    split = dataset.train
    (batch,) = model.batches(split.images[None, :images], split.labels[None, :images])
    return np.array([_seconds(model.stage(layers, 1, images), batch) for layers in block_layers(architecture)])


def _seconds(stage: Stage, batch: tuple[object, object]) -> float:
    found = []
    for _ in range(_ROUNDS):
        stage.begin()
        began = time.perf_counter()
        stage.forward(0, *batch)
        stage.backward(0)
        found.append(time.perf_counter() - began)
    return min(found[1:])
