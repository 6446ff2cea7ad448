"""Many short trials in a row with one launcher, with a fault in some; says what piled up.

`python -m tests.faults.repeat INVENTORY TRIALS EVERY`: every so many trials has a fault, 0 for none. Run by the cases.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from harness.contract.events import Event
from harness.launch.code import packaged_code
from harness.launch.job import Job
from harness.launch.launcher import Launcher, Limits
from harness.launch.placement import PORTS, Rank
from harness.nodes.inventory import Node
from harness.nodes.read_inventory import load_cluster
from harness.nodes.session import Session
from tests.faults.rig import Rig

WARM_UP = 5
PROGRAM, LONGER = ("sleep", "2"), ("sleep", "6")
SEED = 16
AGENT = "agent run$"
SESSIONS = "^sshd: pi"
ENDS_THE_TRIAL = ("a rank is killed", "a keeper is killed")
FAULTS = (
    *ENDS_THE_TRIAL,
    "a rank stands still for 1 s",
    "the agent is killed",
    "SSH sessions are killed",
    "a link is cut for 3 s",
)


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


def strike(rig: Rig, fault: str, number: str) -> None:
    """Make a fault happen on the node of a worker, once it runs."""
    rank = rig.rank("worker", number)
    if fault == "a rank is killed":
        os.kill(rank.pid, signal.SIGKILL)
    elif fault == "a keeper is killed":
        rig.signal_keeper(rank, signal.SIGKILL)
    elif fault == "a rank stands still for 1 s":
        os.kill(rank.pid, signal.SIGSTOP)
        time.sleep(1)
        os.kill(rank.pid, signal.SIGCONT)
    elif fault == "a link is cut for 3 s":
        with rig.cut(rank.node):
            time.sleep(3)
    else:
        rig.inside(rank.node, "pkill", "-KILL", "-f", AGENT if fault == "the agent is killed" else SESSIONS)


def held() -> dict[str, int]:
    """What this process holds."""
    links = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return {
        "descriptors": len(links),
        "sockets": sum(link.startswith("socket:") for link in links),
        "threads": threading.active_count(),
        "MB": resident_bytes() // 1_000_000,
    }


def resident_bytes() -> int:
    """Of this process's memory, what is in the machine's."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(inventory: Path, trials: int, every: int) -> None:
    """Run the trials; prints one JSON line: what was held after the warm-up and at the end, failures, seconds a trial."""
    rig, chance, faults = Rig(inventory), random.Random(SEED), Counter[str]()  # noqa: S311 - the same faults every time
    cluster, code = load_cluster(inventory), packaged_code()
    runtimes = {node.name: True for node in cluster.nodes}
    failures = 0
    with Session(cluster) as session:
        for node in cluster.nodes:
            code.send(session.to(node))
        launcher = Launcher(session, code.hash, f"repeat-{os.getpid()}", Limits(stall=None))
        for number in range(trials):
            if number == WARM_UP:
                before, began = held(), time.monotonic()
            fault = chance.choice(FAULTS) if every and number % every == every - 1 else ""
            job = Job(LONGER if fault else PROGRAM, len(cluster.nodes), 1, {}, None)
            placement = job.placed(cluster.nodes, cluster.port + number % PORTS, "t", {}, runtimes)
            striking = threading.Thread(target=strike, args=(rig, fault, str(chance.randrange(len(cluster.nodes)))))
            if fault:
                faults[fault] += 1
                striking.start()
            outcome = launcher.run(placement, Nobody(), expects_events=False)
            if fault:
                striking.join()
            if (outcome.status == "ok") == (fault in ENDS_THE_TRIAL):
                failures += 1
                print(fault, file=sys.stderr)
                print(number, outcome, file=sys.stderr, flush=True)
            if number % 20 == 0:
                print(number, file=sys.stderr, flush=True)
        seconds = (time.monotonic() - began) / (trials - WARM_UP)
        said = {"before": before, "after": held(), "failures": failures, "seconds": seconds, "faults": faults}
        print(json.dumps(said), flush=True)
    rig.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
