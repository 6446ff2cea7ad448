"""Dask: its configuration by environment variables (its documentation, "Configuration": DASK_ and two underlines a level)."""

from __future__ import annotations

from harness.launch.frameworks.base import Environment, Framework, Job, Seat
from harness.launch.frameworks.certificate import credentials

_COMM = "DASK_DISTRIBUTED__COMM"


class Dask(Framework):
    """Where the scheduler is, and that every connection is encrypted, with a certificate that the other side knows.

    Whoever reaches a scheduler or a worker without TLS can run code there. The roles are `scheduler`, `worker` and whatever the
    program calls its client.
    """

    def shared(self, job: Job, role: str) -> Environment:
        """The scheduler's address and the trial's certificate; `Client()` and `Worker()` without arguments find them."""
        found = credentials(job.token)
        sides = {
            f"{_COMM}__TLS__{side}__{part}": text
            for side in ("SCHEDULER", "WORKER", "CLIENT")
            for part, text in (("CERT", found.certificate), ("KEY", found.key))
        }
        return {
            "DASK_SCHEDULER_ADDRESS": f"tls://{job.addresses.get('scheduler', job.root_address)}:{job.port}",
            "DASK_HARNESS__WORKERS": str(job.counts.get("worker", 0)),
            f"{_COMM}__REQUIRE_ENCRYPTION": "True",
            f"{_COMM}__TLS__CA_FILE": found.certificate,
            **sides,
        }

    def own(self, job: Job, seat: Seat) -> Environment:
        """The name that a worker has in Dask's own messages and on its dashboard."""
        return {"DASK_WORKER_NAME": f"{seat.role}{seat.number}"}
