"""What tests of the launcher share: two nodes, two workers, and their exit states."""

from __future__ import annotations

from pathlib import Path

from harness.inventory import Cluster, Node
from harness.json_line import Json
from harness.placement import Placement, place
from harness.plan import Trial

NODES = tuple(
    Node(name, f"127.0.0.{number}", local=True, root="/nowhere", supervisor="process")
    for number, name in enumerate(("a", "b", "c"), 1)
)
CLUSTER = Cluster(Path("inventory"), "local", NODES)


def trial(nodes: int = 2) -> Trial:
    return Trial(f"n{nodes:02d}-r1", nodes, 1, "", "program.py", {}, {}, 1)


def placement(*command: str) -> Placement:
    return place(
        trial(), NODES[:2], workers=2, servers=1, scheduler=True, port=9091,
        command=lambda node: command or ("true",), environment={}, token="t0ken",  # noqa: S106
    )  # fmt: skip


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
