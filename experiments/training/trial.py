"""What a process finds of its trial in the environment. Started by hand, with nothing set, it is alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from contract import wire

from .errors import ProgramError

_NAMES = (wire.RANK, wire.TRIAL_TOKEN, wire.ROOT_ADDRESS, wire.ROOT_PORT, wire.NODE_ADDRESS)


def rank(environment: Mapping[str, str] = os.environ) -> int:
    """This worker's number in launch order, from 0."""
    return int(environment.get(wire.RANK, "0"))


def world_size(environment: Mapping[str, str] = os.environ) -> int:
    """How many workers the trial has."""
    return int(environment.get(wire.WORLD_SIZE, "1"))


@dataclass(frozen=True)
class Seat:
    """A worker's place in the trial, and where the others find it."""

    rank: int
    workers: int
    host: str
    """Own address."""
    root: tuple[str, int]
    """Worker 0's address and port."""
    token: bytes
    signed: bool = False
    """Whether every message between workers carries a signature."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Seat:
        """Read the environment; a worker that is alone needs nothing of it. Raises ProgramError naming what is missing."""
        workers = world_size(environment)
        if workers == 1:
            return cls(0, 1, "127.0.0.1", ("127.0.0.1", 0), b"")
        missing = [name for name in _NAMES if not environment.get(name)]
        if missing:
            raise ProgramError(
                f"the store allreduce with {workers} workers needs {', '.join(missing)} in the environment",
                "start the program through `harness sweep`, which sets them",
            )
        number, token, address, port, host = (environment[name] for name in _NAMES)
        return cls(int(number), workers, host, (address, int(port)), token.encode())
