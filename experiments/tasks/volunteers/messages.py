"""What coordinator and volunteers say to each other: a JSON object, and float32 values behind it. Nothing is ever unpickled.

Both ends have proved that they hold the trial's token (`allreduce.links.handshake`). What they say is not encrypted.
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import struct
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from training.engines.base import Floats
from training.kvstores.allreduce.links.link import tune

SEND_SECONDS = 120.0
"""So long a whole message may take once its first byte is there."""
WAIT_SECONDS = 600.0
"""So long either end waits for the other's next message."""

_LENGTHS = struct.Struct("!II")
_LONGEST_HEAD = 1 << 16
_FLOAT_BYTES = 4


class BrokenError(Exception):
    """The other end is gone, silent for too long, or says what nobody here says."""


@dataclass(frozen=True)
class Task:
    """Steps `first` to `first + steps - 1` of the run, beginning with the values of a version."""

    version: int
    first: int
    steps: int
    rate: float
    """The learning rate."""
    of_window: int
    """Of the run's measurements, the one that is under way."""


@dataclass(frozen=True)
class Result:
    """What became of a task."""

    version: int
    first: int
    steps: int
    images: int
    seconds: float
    """Of training."""
    loss: float
    """Sum over its images before each step."""

    def of(self, task: Task) -> bool:
        """Whether it is this task's."""
        return (self.first, self.steps) == (task.first, task.steps)


class Line:
    """A connection whose other end has proved itself."""

    def __init__(self, connection: socket.socket, values: int) -> None:
        """`values` are those of a model: more than so many are never read."""
        tune(connection)
        self._socket = connection
        self._values = values

    def say(self, kind: str, what: object = None, values: Floats | None = None) -> None:
        """Send.

        Args:
            kind: of message.
            what: a dataclass, a mapping, or nothing.
            values: (n,) float32, no unit.
        """
        fields = what if isinstance(what, dict) else asdict(what) if what is not None else {}  # type: ignore[call-overload]
        head = json.dumps({"kind": kind, **fields}).encode()
        body = b"" if values is None else values.astype("<f4", copy=False).tobytes()
        self._socket.settimeout(SEND_SECONDS)
        try:
            self._socket.sendall(_LENGTHS.pack(len(head), len(body)) + head + body)
        except OSError as error:
            raise BrokenError(str(error)) from error

    def hear(self, seconds: float = WAIT_SECONDS) -> tuple[dict[str, Any], Floats]:
        """Wait for the next message.

        Returns:
            its object, whose `kind` is a text; (n,) float32, no unit: n is 0 or a model's.
        """
        head_size, body_size = _LENGTHS.unpack(self._read(_LENGTHS.size, seconds))
        if head_size > _LONGEST_HEAD or body_size not in (0, self._values * _FLOAT_BYTES):
            raise BrokenError(f"it announced {head_size} and {body_size} bytes")
        try:
            head = json.loads(self._read(head_size, SEND_SECONDS))
        except ValueError as error:
            raise BrokenError(f"it sent no JSON: {error}") from error
        if not isinstance(head, dict) or not isinstance(head.get("kind"), str):
            raise BrokenError("it sent no object with a kind")
        values: Floats = np.frombuffer(self._read(body_size, SEND_SECONDS), "<f4").astype(np.float32)
        return head, values

    def close(self) -> None:
        """End it, also for a thread that waits for the other end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read(self, size: int, seconds: float) -> bytearray:
        received, until = bytearray(size), time.monotonic() + seconds
        view = memoryview(received)
        try:
            while view:
                self._socket.settimeout(max(until - time.monotonic(), 0.001))
                count = self._socket.recv_into(view)
                if not count:
                    raise BrokenError("it closed the connection")
                view = view[count:]
        except OSError as error:
            raise BrokenError(str(error) or type(error).__name__) from error
        return received


def task_of(head: dict[str, Any]) -> Task:
    """A task from its object. Raises BrokenError."""
    whole = [head.get(name) for name in ("version", "first", "steps", "of_window")]
    rate = head.get("rate")
    if not all(_count(value) for value in whole) or not isinstance(rate, float):
        raise BrokenError(f"it sent what is no task: {str(head)[:200]}")
    return Task(head["version"], head["first"], head["steps"], rate, head["of_window"])


def result_of(head: dict[str, Any]) -> Result:
    """A result from its object. Raises BrokenError."""
    whole = [head.get(name) for name in ("version", "first", "steps", "images")]
    real = [head.get(name) for name in ("seconds", "loss")]
    if not all(_count(value) for value in whole) or not all(isinstance(value, int | float) for value in real):
        raise BrokenError(f"it sent what is no result: {str(head)[:200]}")
    loss = float(head["loss"])
    return Result(
        head["version"], head["first"], head["steps"], head["images"], max(0.0, float(head["seconds"])),
        loss if math.isfinite(loss) else math.inf,
    )  # fmt: skip


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
