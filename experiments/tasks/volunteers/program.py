"""Each rank does what its role says."""

from __future__ import annotations

import os
from collections.abc import Sequence

from contract import wire
from training import trial

from . import options
from .coordinator import coordinate
from .volunteer import seat_of, volunteer

COORDINATOR = "coordinator"


def work(arguments: Sequence[str]) -> None:
    """Be the coordinator, or a volunteer. Raises ProgramError."""
    asked = options.read(arguments)
    if os.environ.get(wire.ROLE) == COORDINATOR:
        coordinate(asked, seat_of(0))
    else:
        volunteer(asked, seat_of(trial.rank()))
