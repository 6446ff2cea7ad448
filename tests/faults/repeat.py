"""Many short trials in a row with one launcher; says what piled up. Run by the case, in the cluster's network."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from harness.agent import Code
from harness.events import Event
from harness.inventory import Node, load_cluster
from harness.launch_job import Job
from harness.launcher import Launcher, Limits
from harness.paths import EXPERIMENTS
from harness.placement import PORTS, Rank
from harness.transport import Session

WARM_UP = 5
PROGRAM = ("sleep", "2")


class Nobody:
    """Listens to no trial."""

    def output(self, rank: Rank, data: bytes) -> None:
        """Nothing."""

    def event(self, rank: Rank, event: Event) -> None:
        """Nothing."""

    def telemetry(self, node: Node, sample: Mapping[str, object]) -> None:
        """Nothing."""

    def warning(self, text: str) -> None:
        """Say it: none is expected."""
        print(text, file=sys.stderr)


def held() -> dict[str, int]:
    """What this process holds."""
    links = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return {
        "descriptors": len(links),
        "sockets": sum(link.startswith("socket:") for link in links),
        "threads": threading.active_count(),
    }


def main(inventory: Path, trials: int) -> None:
    """Run the trials; prints one JSON line: what was held after the warm-up and at the end, failures, seconds a trial."""
    cluster, code = load_cluster(inventory), Code.of(EXPERIMENTS)
    job = Job(PROGRAM, len(cluster.nodes), 1, {}, None)
    runtimes = {node.name: True for node in cluster.nodes}
    failures = 0
    with Session(cluster) as session:
        for node in cluster.nodes:
            code.send(session.to(node))
        launcher = Launcher(session, code.hash, f"repeat-{os.getpid()}", Limits(stall=None))
        for number in range(trials):
            if number == WARM_UP:
                before, began = held(), time.monotonic()
            placement = job.placed(cluster.nodes, cluster.port + number % PORTS, "t", {}, runtimes)
            outcome = launcher.run(placement, Nobody(), expects_events=False)
            if outcome.status != "ok":
                failures += 1
                print(number, outcome, file=sys.stderr, flush=True)
            if number % 20 == 0:
                print(number, file=sys.stderr, flush=True)
        seconds = (time.monotonic() - began) / (trials - WARM_UP)
        print(json.dumps({"before": before, "after": held(), "failures": failures, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
