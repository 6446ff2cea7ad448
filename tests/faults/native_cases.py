"""Cases of the native parameter servers: each process killed, a worker replaced, garbage on every port of a trial."""

from __future__ import annotations

from tests.faults.cases import (
    GOES_ON_EPOCHS,
    GOES_ON_SECONDS,
    Result,
    case,
    goes_on,
    killed_in_training,
    succeeded,
)
from tests.faults.rig import Rig

NATIVE = ("--set", "kvstore=dist_sync", "--set", "kvstore_implementation=native")
ASYNCHRONOUS = ("--set", "kvstore=dist_async", "--set", "kvstore_implementation=native")
# Runs on a node: sends what no worker sends to each `address:port` of its arguments.
_SENDER = """
import os, socket, sys
for place in sys.argv[1:]:
    address, _, port = place.rpartition(":")
    for garbage in (b"GET / HTTP/1.1\\r\\n\\r\\n", bytes(4096), os.urandom(4096), b"kvstore1" + os.urandom(4096)):
        with socket.create_connection((address, int(port)), 10) as stranger:
            stranger.sendall(garbage)
"""


@case("kill -9 of a worker (native servers)")
def native_worker(rig: Rig) -> Result:
    return killed_in_training(rig, "worker", "1", "worker1 on node02: was killed by SIGKILL", NATIVE)


@case("kill -9 of a server (native servers)")
def native_server(rig: Rig) -> Result:
    return killed_in_training(rig, "server", "0", "server0 on node01: was killed by SIGKILL", NATIVE)


@case("kill -9 of the scheduler (native servers)", short=True)
def native_scheduler(rig: Rig) -> Result:
    return killed_in_training(rig, "scheduler", "0", "scheduler0 on node01: was killed by SIGKILL", NATIVE)


@case("kill -9 of a worker in epoch 4, another takes its place (native servers, dist_async)")
def native_replaced(rig: Rig) -> Result:
    return goes_on(rig, (*ASYNCHRONOUS, "--recover-workers", "1"), attempts="1", recovered="1", after=("",))


@case("garbage on the ports of scheduler and servers (native servers)")
def native_garbage(rig: Rig) -> Result:
    running = rig.train(*NATIVE, epochs=GOES_ON_EPOCHS)
    running.trained()
    places = {node: _listening(rig, node) for node in rig.nodes}
    for node, ours in places.items():
        rig.inside(node, "python3", "-c", _SENDER, *ours)
    count = sum(map(len, places.values()))
    result = succeeded(running, GOES_ON_SECONDS, f"{count} ports")
    held = result.as_promised and count == 1 + len(rig.nodes)
    return Result(result.outcome, held, None, None, result.left, result.lost, GOES_ON_SECONDS)


def _listening(rig: Rig, node: str) -> list[str]:
    """Where the node's ranks listen, as `address:port`: a trial's scheduler and servers."""
    lines = rig.inside(node, "ss", "-Hltnp").splitlines()
    return [line.split()[3] for line in lines if '"kvstore"' in line]
