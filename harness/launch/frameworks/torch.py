"""torch.distributed with `init_method="env://"`, as its own launcher sets it up."""

from __future__ import annotations

from harness.launch.frameworks.base import Environment, Framework, Job, Seat


class Torch(Framework):
    """The names of torchrun; a role's ranks are one process group."""

    def shared(self, job: Job, role: str) -> Environment:
        """Where the role's rank 0 listens."""
        return {"MASTER_ADDR": job.addresses[role], "MASTER_PORT": str(job.port)}

    def own(self, job: Job, seat: Seat) -> Environment:
        """A rank's number, in all and on its node."""
        return {
            "RANK": str(seat.number),
            "WORLD_SIZE": str(job.counts[seat.role]),
            "LOCAL_RANK": str(seat.local_number),
            "LOCAL_WORLD_SIZE": str(seat.local_count),
        }
