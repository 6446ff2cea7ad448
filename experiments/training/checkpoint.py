"""What a run is continued from: the arrays after an epoch, and what the store and its rule keep between steps (momentum,
a worker's own values). Plain SGD keeps nothing. (What 2-bit compression has not sent yet is in MXNet's worker, out of
reach: it is lost.)

Shuffles are a function of seed and epoch and the learning rate one of the step's number, so a worker that takes these
of epoch k and goes on with epoch k + 1 computes what it would have computed. The harness says through the environment
whether a checkpoint is wanted and where a run begins.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from contract import wire

from .errors import ProgramError
from .models import Architecture, Weights
from .reporting.events import emit

_EPOCH = "epoch"
_STATE = "state/"


@dataclass(frozen=True)
class Beginning:
    """Where a run begins: the arrays after `epoch` epochs, 0 for a new run."""

    arrays: dict[str, Weights]
    """Trained values and statistics, float32, by name."""
    epoch: int
    state: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    """What the store gave as its `state`."""


def beginning(architecture: Architecture, seed: int) -> Beginning:
    """The checkpoint that the environment names, or a new run's first weights. Raises ProgramError.

    A worker that takes a dead one's place begins with the epoch in which that one died; its weights come from the store.
    """
    path = os.environ.get(wire.RESUME_FROM)
    if path:
        begun = _load(Path(path), architecture)
    else:
        begun = Beginning(architecture.first_weights(seed) | architecture.first_statistics(), 0)
    return replace(begun, epoch=int(os.environ.get(wire.FOLLOWS_AFTER, begun.epoch)))


class Keeper:
    """Writes a checkpoint at every epoch's end and says so, where the environment asks for it.

    `shared` is whether worker 0's stands for all workers': it then writes for all, else each writes its own.
    """

    def __init__(self, rank: int, *, shared: bool) -> None:
        path = os.environ.get(wire.CHECKPOINT_FILE)
        self._path = Path(path) if path and (rank == 0 or not shared) else None
        self._rank = rank
        self._shared = shared

    def keep(
        self,
        epoch: int,
        weights: Callable[[], dict[str, Weights]],
        state: Callable[[], dict[str, npt.NDArray[Any]]] = dict,
    ) -> None:
        """Replace the checkpoint by one of this epoch; a reader sees the old or the new, whole. The event comes after.

        Args:
            epoch: how many are over.
            weights: gives the arrays by name: as `Architecture.shapes` gives, float32, no unit.
            state: gives what the store keeps, by name: (size,) of any dtype, no unit.
        """
        if self._path is None:
            return
        arrays = weights() | {f"{_STATE}{name}": array for name, array in state().items()}
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with temporary.open("w+b") as file:  # array after array: a large model has no memory for copies
            np.savez(file, **{_EPOCH: np.int64(epoch)}, **arrays)  # type: ignore[arg-type]  # none is named allow_pickle
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        temporary.replace(self._path)
        emit(wire.CHECKPOINT, rank=self._rank, epoch=epoch, bytes=size, sha256=digest, shared=self._shared)


def _load(path: Path, architecture: Architecture) -> Beginning:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: np.asarray(arrays[name]) for name in arrays}
        epoch = int(found.pop(_EPOCH))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ProgramError(f"{path} is no checkpoint: {error}", "start the trial without --continue") from None
    state = {name.removeprefix(_STATE): found.pop(name) for name in list(found) if name.startswith(_STATE)}
    shapes = {name: array.shape for name, array in found.items() if array.dtype == np.float32}
    expected = {array.name: array.shape for array in (*architecture.arrays, *architecture.statistics)}
    if shapes != expected:
        raise ProgramError(f"the checkpoint {path} is of another model", "start the trial without --continue")
    return Beginning({name: found[name] for name in expected}, epoch, state)
