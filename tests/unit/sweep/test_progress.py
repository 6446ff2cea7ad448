"""What a person is told of a dashboard, whatever the rank says of it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from launch_parts import CLUSTER, NODES, placement, trial
from rich.console import Console

from harness.contract.events import Event
from harness.sweep.progress import Progress


def told(values: dict[str, object], local: bool = True, namespace: str | None = None) -> str:
    said = io.StringIO()
    rank = placement().with_role("scheduler")[0]
    rank = replace(rank, node=replace(NODES[0], local=local, user="pi", address="192.0.2.1", known_hosts="/pinned"))
    cluster = replace(CLUSTER, network_namespace=namespace)
    with Progress(Console(file=said, width=80), [trial()], quiet=True, cluster=cluster) as progress:
        progress.begin(trial(), 1)
        progress.event(rank, Event("dashboard", {"rank": 0, **values}))
    return said.getvalue()


def test_of_a_node_that_is_this_machine_the_address_is_enough() -> None:
    assert told({"port": 8787, "path": "/status"}) == "n02-r1: dashboard: http://127.0.0.1:8787/status\n"


def test_of_another_the_tunnel_is_said_in_one_line() -> None:
    where, command = told({"port": 8787, "path": "/status"}, local=False).splitlines()
    assert where.startswith("n02-r1: dashboard: http://127.0.0.1:8787/status on this machine, while this runs")
    assert command.startswith("    ssh -N -L 127.0.0.1:8787:127.0.0.1:8787 ")
    assert command.endswith(" pi@192.0.2.1")
    assert "ip netns exec hv-x-c ssh" in told({"port": 8787}, local=False, namespace="hv-x-c")


@pytest.mark.parametrize(
    "values",
    [{"port": 0}, {"port": 70000}, {"port": "1; rm"}, {"port": 8787, "path": "/$(rm)"}, {"port": 8787, "path": "x"}],
)
def test_what_could_be_no_such_address_is_not_shown(values: dict[str, object]) -> None:
    assert told(values, local=False) == ""
