"""What a program makes before it trains: data, engine, and a model whose values lie in one buffer, or two with a head apart."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .. import datasets, engines, kvstores, models
from ..datasets import Dataset
from ..engines.base import Engine, Model
from ..engines.layout import laid_out
from ..models import Architecture
from ..options import data_directory
from ..reporting.epoch import Start


@dataclass(frozen=True)
class Setup:
    """All of it."""

    architecture: Architecture
    dataset: Dataset
    engine: Engine
    model: Model
    environment: dict[str, str]
    """What was set for the engine."""


def set_up(
    start: Start,
    *,
    engine: str,
    model: str,
    dataset: str,
    data_dir: str | None,
    limit: int | None,
    seed: int,
    head: int = 0,
) -> Setup:
    """Make it; `start` is told how long what took. The same seed gives the same first values.

    `head` arrays, the last ones, have a buffer of their own. Raises ProgramError for what is not there.
    """
    entry = datasets.named(dataset)
    architecture = models.load(model, entry.classes, entry.images)
    data = datasets.load(dataset, data_directory(data_dir), limit).fitted(architecture.side, architecture.channels)
    engines.require(engine)
    start.loaded()
    derived = kvstores.environment("allreduce", architecture.sizes(), os.environ, engine)
    os.environ.update(derived)  # before the engine reads it
    library = engines.load(engine)
    start.imported()
    arrays = architecture.first_weights(seed) | architecture.first_statistics()
    count = len(architecture.arrays)
    buckets = architecture.aligned([count - head, head] if head else [count])
    return Setup(architecture, data, library, library.build(laid_out(architecture, data, arrays, buckets)), derived)
