"""How a run goes about its trials: what they may take, what happens when they fail, what is shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.energy.metering import Metering
from harness.launch.limits import Limits


@dataclass(frozen=True)
class Policy:
    """What happens when a trial fails."""

    retries: int = 0
    fail_fast: bool = False
    go_on: bool = False
    """Whether trials that failed or were cut go on from their last checkpoint."""
    recover_workers: int = 0
    """How often an attempt is started again in place when a worker died."""

    @property
    def keeps(self) -> bool:
        """Whether workers are asked for checkpoints."""
        return self.go_on or self.recover_workers > 0


@dataclass(frozen=True)
class RunOptions:
    """What holds for all trials of a run."""

    limits: Limits
    policy: Policy
    telemetry_seconds: float
    """Between two samples of a node's health; 0 for none."""
    quiet: bool
    metering: Metering = field(default_factory=Metering)
    """Whose power is known, and by what."""
