"""What a run is continued from: the weights after an epoch. Plain SGD keeps nothing else between steps.
(What 2-bit compression has not sent yet is in MXNet's worker, out of reach: it is lost.)

Shuffles are a function of seed and epoch and the learning rate one of the step's number, so a worker that takes the weights
of epoch k and goes on with epoch k + 1 computes what it would have computed. The harness says through the environment
whether a checkpoint is wanted and where a run begins.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .errors import ProgramError
from .events import emit
from .models import Architecture, Weights
from .stores import FOLLOWS

TO = "HARNESS_CHECKPOINT"
FROM = "HARNESS_RESUME_FROM"
_EPOCH = "epoch"


@dataclass(frozen=True)
class Beginning:
    """Where a run begins: the weights after `epoch` epochs, 0 for a new run."""

    weights: dict[str, Weights]
    epoch: int


def beginning(architecture: Architecture, seed: int) -> Beginning:
    """The checkpoint that the environment names, or a new run's first weights. Raises ProgramError.

    A worker that takes a dead one's place begins with the epoch in which that one died; its weights come from the store.
    """
    path = os.environ.get(FROM)
    begun = _load(Path(path), architecture) if path else Beginning(architecture.first_weights(seed), 0)
    return replace(begun, epoch=int(os.environ.get(FOLLOWS, begun.epoch)))


class Keeper:
    """Writes a checkpoint at every epoch's end and says so, where the environment asks for it.

    `shared` is whether all workers have the same weights: worker 0 then writes for all, else each writes its own.
    """

    def __init__(self, rank: int, *, shared: bool) -> None:
        path = os.environ.get(TO)
        self._path = Path(path) if path and (rank == 0 or not shared) else None
        self._rank = rank
        self._shared = shared

    def keep(self, epoch: int, weights: Callable[[], dict[str, Weights]]) -> None:
        """Replace the checkpoint by one of this epoch; a reader sees the old or the new, whole. The event comes after."""
        if self._path is None:
            return
        data = _pack(epoch, weights())
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        temporary.write_bytes(data)
        temporary.replace(self._path)
        digest = hashlib.sha256(data).hexdigest()
        emit("checkpoint", rank=self._rank, epoch=epoch, bytes=len(data), sha256=digest, shared=self._shared)


def _pack(epoch: int, weights: dict[str, Weights]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{_EPOCH: np.int64(epoch)}, **weights)  # type: ignore[arg-type]  # none is named allow_pickle
    return buffer.getvalue()


def _load(path: Path, architecture: Architecture) -> Beginning:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: np.asarray(arrays[name]) for name in arrays}
        epoch = int(found.pop(_EPOCH))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ProgramError(f"{path} is no checkpoint: {error}", "start the trial without --continue") from None
    shapes = {name: array.shape for name, array in found.items() if array.dtype == np.float32}
    if shapes != architecture.shapes():
        raise ProgramError(f"the checkpoint {path} is of another model", "start the trial without --continue")
    return Beginning({name: found[name] for name in architecture.shapes()}, epoch)
