"""What ranks are told through their environment."""

from __future__ import annotations

from dataclasses import replace

from launch_parts import NODES, trial

from harness.experiment.program import Role
from harness.launch.frameworks import FRAMEWORKS
from harness.launch.placement import RolePlacement, place


def test_a_nodes_threads_are_told_to_its_ranks_unless_the_experiment_says_otherwise() -> None:
    def threads(of_node: int | None, environment: dict[str, str]) -> str | None:
        node = replace(NODES[0], threads=of_node)
        placed = place(
            trial(1), [RolePlacement("worker", Role(), (node,))], framework=FRAMEWORKS["plain"], port=1,
            command=lambda _: ("true",), environment=environment, token="",
        )  # fmt: skip
        return placed.ranks[0].environment.get("OMP_NUM_THREADS")

    assert threads(None, {}) is None
    assert threads(4, {}) == "4"
    assert threads(4, {"OMP_NUM_THREADS": "2"}) == "2"
