"""What a framework is told of a trial and of a rank, and what it may add to the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

Environment = dict[str, str | None]
"""Variables of a rank; None removes one that the rank would inherit."""


@dataclass(frozen=True)
class Job:
    """What is common to all ranks of a trial."""

    root_address: str
    """IP address of the first rank's node."""
    port: int
    counts: Mapping[str, int]
    """How many ranks each role has."""
    addresses: Mapping[str, str]
    """IP address of the node of each role's rank 0."""
    token: str = field(default="", repr=False)
    """The secret of this start of the trial."""


@dataclass(frozen=True)
class Seat:
    """Where one rank is."""

    role: str
    number: int
    """Among the ranks of its role, in launch order."""
    local_number: int
    """Among those of them that are on its node."""
    local_count: int
    node_address: str


class Framework:
    """The plain framework: nothing beside the neutral names."""

    servers_end: ClassVar[bool] = False
    """Whether ranks that serve end by themselves once the others have: they are then given the time for it."""

    def shared(self, job: Job, role: str) -> Environment:
        """Variables that all ranks of a role get alike; the experiment's own environment goes before them."""
        return {}

    def own(self, job: Job, seat: Seat) -> Environment:
        """Variables that say which rank it is; nothing goes before them."""
        return {}

    def replaceable(self) -> Environment:
        """Variables of every rank of a trial in which a dead worker may be followed by another."""
        return {}
