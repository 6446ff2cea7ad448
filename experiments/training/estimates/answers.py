"""What the harness asks of `train.py` before a trial starts, and the answers; docs/reference/programs.md has the form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from .. import datasets, kvstores, models, options
from ..engines import normalisation
from ..errors import ProgramError
from ..kvstores import KVStoreOptions
from ..memory import Demand
from ..models import Architecture
from ..sharding import steps_per_epoch
from .computing import Work
from .traffic import traffic

Json = dict[str, Any]

_WORKER, _SERVER = "worker", "server"


def answer(question: Mapping[str, Any]) -> Json:
    """The answer to one question; where the parameters are contradictory, that fault and its remedy."""
    try:
        return _estimated(question)
    except ProgramError as error:
        return {"fault": error.message, "remedy": error.remedy}


def _estimated(question: Mapping[str, Any]) -> Json:
    chosen = options.parse(question["arguments"])
    workers, servers = question["ranks"].get(_WORKER, 1), question["ranks"].get(_SERVER)
    asked = KVStoreOptions(chosen.synchronise_every, chosen.wire, chosen.threshold, chosen.rule, chosen.own)
    kvstores.check(chosen.kvstore, asked, chosen.engine)
    entry = datasets.named(chosen.dataset)
    architecture = _architecture(chosen.model, entry.classes, entry.images)
    normalisation.check(architecture, chosen.own)
    demand, steps = _demand(architecture, entry, chosen, workers)
    moved = traffic(architecture, chosen, workers=workers, servers=servers, steps=steps)
    work = Work(architecture, chosen.batch_size, chosen.accumulate)
    return {
        "memory": _memory(demand, question.get("memory_bytes")),
        "traffic": None if moved is None else asdict(moved),
        "steps": steps,
        "operations": work.whole / chosen.batch_size,
        "fixed": work.fixed / work.whole,
        "parameters": architecture.parameters(),
    }


def _demand(
    architecture: Architecture, entry: datasets.Entry, chosen: options.Options, workers: int
) -> tuple[Demand, int]:
    """What a worker's memory has to hold, and the steps of its epoch."""
    if entry.counts is None:
        raise ProgramError(
            f"the list of data sets does not say how many images {entry.name} has", "add counts to its entry"
        )
    side, _, channels = entry.images
    form = datasets.Form(*entry.counts, side, channels).cut(chosen.limit, chosen.holdout)
    steps = steps_per_epoch(form.train, chosen.batch_size, workers, chosen.epoch_steps)
    return Demand(architecture, form.nbytes(architecture.side, architecture.channels), chosen, workers), steps


def _memory(demand: Demand, memory: int | None) -> Json:
    fits = memory is None or demand.fits(memory)
    found: Json = {"text": demand.words, "nbytes": demand.nbytes, "fits": fits, "instead": []}
    if memory is not None and not fits:
        ways = {"batch_size": demand.largest(memory), demand.cutting: demand.pieces(memory)}
        found["instead"] = [{name: value} for name, value in ways.items() if value]
    return found


@cache
def _architecture(model: str, classes: int, images: tuple[int, int, int]) -> Architecture:
    return models.load(model, classes, images)
