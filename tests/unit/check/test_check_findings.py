"""What a run cannot use fails the check first, with a remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from launch_parts import CLUSTER, NODES, trial

from harness.check.findings import Probed, node_findings, shared_machines, unlike_runtimes
from harness.check.network import _sessions, network_findings
from harness.check.preflight import Preflight, require, warnings_of
from harness.errors import BadInputError
from harness.nodes.inventory import Node
from harness.nodes.session import Session
from harness.nodes.transport import Transport

RUNTIME = {"python": "3.11.2", "mxnet": "1.9.1", "numpy": "1.23.5", "stores": ["dist_sync"]}
BOARDS = tuple(replace(node, local=False) for node in NODES)


def answer(**changed: Any) -> dict[str, Any]:
    return {
        "memory_available_bytes": 1 << 30, "disk_free_bytes": 1 << 33, "sudo": True, "runtime": RUNTIME, "throttled": None,
        "running": [], "held": None, "data": {}, "root_writable": True, "machine_id": "", "noise": "", **changed,
    }  # fmt: skip


def cluster(**changed: Any) -> list[Probed]:
    """Three boards, of which the last says something else."""
    probed = [Probed(node, answer(machine_id=node.name), 0.0) for node in BOARDS]
    return [*probed[:2], Probed(BOARDS[2], answer(**{"machine_id": "c", **changed}), 0.0)]


def test_one_board_under_two_addresses_is_found() -> None:
    (found,) = shared_machines(cluster(machine_id="a"))
    assert (found.node, found.level) == ("c", "failed")
    assert found.detail == "127.0.0.3 is the same machine as node a"
    assert "leave one of them out" in found.remedy
    with pytest.raises(BadInputError, match="the same machine as node a"):
        require(Preflight(cluster(machine_id="a")), [trial()], CLUSTER, needs_runtime=False)


def test_nodes_that_are_this_machine_are_meant_so() -> None:
    assert shared_machines([replace_node(each) for each in cluster(machine_id="a")]) == []
    assert shared_machines(cluster()) == []


def replace_node(probed: Probed) -> Probed:
    return Probed(replace(probed.node, local=True), probed.answer, 0.0)


@pytest.mark.parametrize(
    ("part", "version", "level"),
    [("mxnet", "1.9.0", "failed"), ("numpy", "1.26.4", "warning"), ("python", "3.12.1", "warning")],
)
def test_a_node_with_other_versions_is_named(part: str, version: str, level: str) -> None:
    probed = cluster(runtime={**RUNTIME, part: version})
    (found,) = unlike_runtimes(probed, "site")
    assert (found.node, found.level, found.remedy) == ("c", level, "site")
    assert version in found.detail
    if level == "failed":
        with pytest.raises(BadInputError, match=r"its mxnet is 1\.9\.0"):
            require(Preflight(probed), [trial()], CLUSTER)
    else:
        assert found.detail in [each.detail for each in warnings_of(Preflight(probed))]


def test_a_root_that_cannot_be_written_forbids_a_start() -> None:
    (found,) = [each for each in node_findings(cluster(root_writable=False)[2], "site") if each.level == "failed"]
    assert found.detail == "/nowhere cannot be written"
    assert "read-only" in found.remedy
    with pytest.raises(BadInputError, match="cannot be written"):
        require(Preflight(cluster(root_writable=False)), [], CLUSTER)


def test_a_login_shell_that_prints_is_named_with_its_file() -> None:
    (found,) = [each for each in node_findings(cluster(noise="Welcome\nto c")[2], "site") if each.what == "shell"]
    assert (found.level, found.detail) == ("warning", "its login shell prints 'Welcome to c' before all answers")
    assert ".bashrc" in found.remedy


def test_large_frames_that_are_lost_fail_the_check_and_name_both_ends() -> None:
    said = {
        "reached": {"127.0.0.2": 0.01}, "bytes_per_second": None, "reason": "timed out",
        "next": "b", "next_address": "127.0.0.2",
    }  # fmt: skip
    (found,) = network_findings(BOARDS[0], said, {"127.0.0.2": "b"})
    assert found.level == "failed"
    assert "8 MiB do not get from it to b: timed out" in found.detail
    assert "MTU" in found.remedy
    assert "ping -M do -s 1472 127.0.0.2" in found.remedy


class Few(Transport):
    """A node that allows so many sessions."""

    def __init__(self, node: Node, allowed: int) -> None:
        super().__init__(node)
        self._allowed = allowed

    def sessions(self, most: int) -> int:
        return min(most, self._allowed)

    def open(self, command: object) -> Any:
        raise AssertionError

    def close(self) -> None: ...

    def close_if_dead(self) -> None: ...


def test_too_few_sessions_fail_the_check() -> None:
    with Session(CLUSTER) as session:
        session._transports = {node.name: Few(node, allowed) for node, allowed in zip(BOARDS, (10, 4, 1), strict=True)}
        (found,) = _sessions(session, BOARDS)
    assert (found.node, found.level) == ("c", "failed")
    assert "allows 1 sessions beside the first, and 4 are needed" in found.detail
    assert "MaxSessions" in found.remedy
