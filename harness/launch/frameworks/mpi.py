"""Open MPI's and PMI's names of a rank's number: programs that only read these run as they are; there is no MPI library."""

from __future__ import annotations

from harness.launch.frameworks.base import Environment, Framework, Job, Seat


class Mpi(Framework):
    """The names that Open MPI's and MPICH's launchers set."""

    def own(self, job: Job, seat: Seat) -> Environment:
        """A rank's number, in all and on its node."""
        number, size = str(seat.number), str(job.counts[seat.role])
        return {
            "OMPI_COMM_WORLD_RANK": number,
            "OMPI_COMM_WORLD_SIZE": size,
            "OMPI_COMM_WORLD_LOCAL_RANK": str(seat.local_number),
            "OMPI_COMM_WORLD_LOCAL_SIZE": str(seat.local_count),
            "PMI_RANK": number,
            "PMI_SIZE": size,
        }
