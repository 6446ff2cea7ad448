"""MXNet's key-value store: the names that ps-lite reads (its `docs/env.md`)."""

from __future__ import annotations

from typing import ClassVar

from harness.launch.frameworks.base import Environment, Framework, Job, Seat


class Mxnet(Framework):
    """ps-lite's names; the roles are `scheduler`, `server` and `worker`."""

    servers_end: ClassVar[bool] = True

    def shared(self, job: Job, role: str) -> Environment:
        """Where the scheduler is, and how many there are. ps-lite would take an inherited PORT for its own."""
        return {
            "PORT": None,
            "DMLC_PS_ROOT_URI": job.addresses.get("scheduler", job.root_address),
            "DMLC_PS_ROOT_PORT": str(job.port),
            "DMLC_NUM_WORKER": str(job.counts.get("worker", 0)),
            "DMLC_NUM_SERVER": str(job.counts.get("server", 0)),
        }

    def own(self, job: Job, seat: Seat) -> Environment:
        """Which role a rank has, and the address that it is reached at."""
        return {"DMLC_ROLE": seat.role, "DMLC_NODE_HOST": seat.node_address}

    def replaceable(self) -> Environment:
        """Heartbeats, in seconds; without them ps-lite never lets anybody take a dead worker's place."""
        return {"PS_HEARTBEAT_INTERVAL": "1", "PS_HEARTBEAT_TIMEOUT": "4"}
