"""What tests of the launcher share: two nodes, two workers, and their exit states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.contract.json_line import Json
from harness.experiment.plan import Trial
from harness.experiment.program import Program, Role
from harness.launch.frameworks import FRAMEWORKS
from harness.launch.placement import Placement, RolePlacement, SentCode, place, spread
from harness.nodes.inventory import Cluster, Node

NODES = tuple(
    Node(name, f"127.0.0.{number}", local=True, root="/nowhere", supervisor="process")
    for number, name in enumerate(("a", "b", "c"), 1)
)
CLUSTER = Cluster(Path("inventory"), "local", NODES)
PROGRAM = Program(
    command="program.py",
    framework="mxnet",
    events=True,
    runtime=({"part": "mxnet"},),
    roles={
        "scheduler": Role(on="first", count=1, ends="serves"),
        "server": Role(count=1, ends="serves"),
        "worker": Role(),
    },
)
SENT = SentCode("x", {"program.py": "x/program.py"})


def trial(nodes: int = 2) -> Trial:
    return Trial(f"n{nodes:02d}-r1", nodes, 1, "", PROGRAM, {}, {})


def placement(*command: str) -> Placement:
    return place(
        trial(), parameter_server_roles(2, 1, NODES[:2]), framework=FRAMEWORKS["mxnet"], port=9091,
        command=lambda node: command or ("true",), environment={}, token="t0ken",  # noqa: S106
    )  # fmt: skip


def parameter_server_roles(workers: int, servers: int, nodes: Sequence[Node]) -> list[RolePlacement]:
    """Workers and servers in turn over the nodes, the scheduler on the first."""
    serves = Role(ends="serves")
    return [
        RolePlacement("scheduler", serves, spread(1, nodes)),
        RolePlacement("server", serves, spread(servers, nodes)),
        RolePlacement("worker", Role(), spread(workers, nodes)),
    ]


def exit_state(reason: str = "exit", **values: object) -> Json:
    return {
        "frame": "exit",
        "reason": reason,
        "code": None,
        "signal": None,
        "seconds_ago": 0.0,
        "message": "",
        **values,
    }
