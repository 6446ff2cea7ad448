"""Checkpoints of a trial: what workers are asked for, when one is whole, and what is written down of it. Pure.

A checkpoint of epoch k is whole when every worker's row of every epoch up to k has been taken and the weights are here:
worker 0's where all train one model, else every worker's own. Only then may a trial go on from it: none of the rows that
belong to it can be lost, and all that came later can be dropped and will come again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.contract import wire
from harness.contract.events import Event
from harness.contract.json_line import Json
from harness.launch.placement import Rank

_ALL = ""
"""Instead of a worker's name: the weights of all workers."""


@dataclass(frozen=True)
class Checkpoint:
    """The weights after an epoch, by worker; under "" where all have the same."""

    epoch: int
    weights: Mapping[str, bytes]

    def of(self, worker: str) -> bytes:
        """What a worker goes on with."""
        return self.weights[_ALL] if _ALL in self.weights else self.weights[worker]


@dataclass(frozen=True)
class Saved:
    """A checkpoint as it is kept with its trial, and what was known of the trial by then."""

    checkpoint: Checkpoint
    rows: Mapping[str, int]
    """How many rows of the trial belong to it, by the file they are in."""
    startup_seconds: float | None
    total_seconds: float
    """Both of this start of the ranks and of those before that it goes on from."""
    model_parameters: float | None

    @property
    def files(self) -> dict[str, bytes]:
        """The weights, by file name."""
        return {_file(self.checkpoint.epoch, worker): data for worker, data in self.checkpoint.weights.items()}


def record_of(saved: Saved) -> Json:
    """What checkpoint.json says."""
    weights = {worker: hashlib.sha256(data).hexdigest() for worker, data in saved.checkpoint.weights.items()}
    return {
        "epoch": saved.checkpoint.epoch,
        "weights_sha256": weights,
        "rows": dict(saved.rows),
        "startup_seconds": saved.startup_seconds,
        "total_seconds": saved.total_seconds,
        "model_parameters": saved.model_parameters,
    }


def read_saved(record: Json, read: Callable[[str], bytes]) -> Saved:
    """The other way round. Raises ValueError where a file is not what it was, or what `read` or a lookup raises."""
    epoch = record["epoch"]
    if not isinstance(epoch, int):
        raise ValueError(f"epoch {epoch!r} is no whole number")
    weights = {worker: read(_file(epoch, worker)) for worker in record["weights_sha256"]}
    for worker, data in weights.items():
        if hashlib.sha256(data).hexdigest() != record["weights_sha256"][worker]:
            raise ValueError(f"{_file(epoch, worker)} is torn")
    return Saved(
        Checkpoint(epoch, weights), record["rows"], record["startup_seconds"], record["total_seconds"],
        record["model_parameters"],
    )  # fmt: skip


def _file(epoch: int, worker: str) -> str:
    return f"epoch{epoch}{'-' if worker else ''}{worker}.npz"


@dataclass(frozen=True)
class Keeping:
    """Asks the workers of a trial for checkpoints, and has them begin with one where it is given."""

    take: Callable[[Rank, bytes], None]
    """Is handed every checkpoint that comes, as it comes."""
    begin: Checkpoint | None = None

    def environment_of(self, rank: Rank) -> dict[str, str]:
        """What a rank is told; see `docs/reference/ranks.md`."""
        if not rank.finishes:
            return {}
        return {
            wire.CHECKPOINT_FILE: wire.CHECKPOINT_NAME,
            **({wire.RESUME_FROM: wire.RESUME_NAME} if self.begin else {}),
        }

    def request_of(self, ranks: Sequence[Rank]) -> Json:
        """What a node's agent is told; the bytes of `files_of` follow the request."""
        sizes = {worker: len(data) for worker, data in self._files(ranks).items()}
        return {
            "checkpoint": {"file": wire.CHECKPOINT_NAME, "ranks": [rank.name for rank in ranks if rank.finishes]},
            **({"resume": {"file": wire.RESUME_NAME, "bytes": sizes}} if sizes else {}),
        }

    def files_of(self, ranks: Sequence[Rank]) -> bytes:
        """The files that a node's workers begin with, one after the other."""
        return b"".join(self._files(ranks).values())

    def _files(self, ranks: Sequence[Rank]) -> dict[str, bytes]:
        if self.begin is None:
            return {}
        return {rank.name: self.begin.of(rank.name) for rank in ranks if rank.finishes}


@dataclass
class Gathering:
    """Finds the checkpoints that are whole among what workers say and send, in whatever order it comes."""

    workers: Sequence[str]
    finished: int = 0
    """The epoch of the last whole one, 0 before the first."""
    _reached: dict[str, int] = field(default_factory=dict)
    _announced: dict[tuple[int, str], str] = field(default_factory=dict)
    """By epoch and worker: the digest of the weights."""
    _arrived: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._reached = dict.fromkeys(self.workers, self.finished)

    def event(self, worker: str, event: Event) -> None:
        """A worker printed an event."""
        epoch = event.number("epoch")
        if worker not in self._reached or epoch is None:
            return
        if event.kind == wire.EPOCH and epoch == self._reached[worker] + 1:
            self._reached[worker] += 1
        digest = event.values.get("sha256")
        if event.kind == wire.CHECKPOINT and epoch > self.finished and isinstance(digest, str):
            owner = _ALL if event.values.get("shared") is True else worker
            self._announced[int(epoch), owner] = digest

    def data(self, data: bytes) -> None:
        """A checkpoint came; after a connection that was cut it may be one that came before."""
        self._arrived[hashlib.sha256(data).hexdigest()] = data
        while len(self._arrived) > 4 * len(self.workers):  # a worker far ahead of the others must not fill the memory
            del self._arrived[next(iter(self._arrived))]

    def whole(self) -> Checkpoint | None:
        """The latest checkpoint that has become whole since the last look."""
        found: dict[int, dict[str, bytes]] = {}
        for (epoch, owner), digest in self._announced.items():
            if digest in self._arrived and epoch <= min(self._reached.values()):
                found.setdefault(epoch, {})[owner] = self._arrived[digest]
        whole = [epoch for epoch, weights in found.items() if _ALL in weights or set(weights) == set(self.workers)]
        if not whole:
            return None
        self.finished = max(whole)
        for key in [key for key in self._announced if key[0] <= self.finished]:
            self._arrived.pop(self._announced.pop(key), None)
        return Checkpoint(self.finished, found[self.finished])
