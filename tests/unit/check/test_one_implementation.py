"""A trial's nodes use one implementation of the parameter servers, or it is refused with a sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from launch_parts import CLUSTER, NODES, trial

from harness.check.findings import Probed
from harness.check.preflight import Preflight, fit_nodes, require
from harness.errors import BadInputError
from harness.experiment.catalog import find_program
from harness.experiment.plan import Trial
from harness.nodes.inventory import Node

BOTH = {"stores": ["dist_sync"], "kvstore_implementations": ["mxnet", "native"]}


def probed(node: Node, default: str | None = "native", **runtime: Any) -> Probed:
    said = {"mxnet": "1.9.1", "python": "3.11.2", **BOTH, "kvstore_implementation": default, **runtime}
    answer = {
        "memory_available_bytes": 1 << 30, "disk_free_bytes": 1 << 33, "sudo": True, "runtime": said, "throttled": None,
        "running": [], "held": None, "data": {}, "machine_id": node.name,
    }  # fmt: skip
    return Probed(node, answer, 0.0)


def training(**parameters: str) -> Trial:
    return replace(trial(), program=find_program("train.py"), parameters={"dataset": "digits", **parameters})


def refused(nodes: list[Probed], **parameters: str) -> BadInputError:
    with pytest.raises(BadInputError) as caught:
        require(Preflight(nodes), [training(**parameters)], CLUSTER)
    return caught.value


def test_nodes_with_different_defaults_are_refused() -> None:
    error = refused([probed(NODES[0]), probed(NODES[1], "mxnet")], kvstore="dist_sync")
    assert error.message == (
        "b: its kvstore_implementation is mxnet, that of most nodes native: they cannot train together"
    )
    assert "--set kvstore_implementation=native" in error.remedy


def test_a_node_that_says_none_differs_too() -> None:
    assert "is None, that of most nodes native" in refused([probed(NODES[0]), probed(NODES[1], None)]).message


@pytest.mark.parametrize(
    "parameters", [{"kvstore": "allreduce"}, {"kvstore": "dist_sync", "kvstore_implementation": "native"}]
)
def test_nodes_with_different_defaults_may_train_where_it_does_not_matter(parameters: dict[str, str]) -> None:
    require(Preflight([probed(NODES[0]), probed(NODES[1], "mxnet")]), [training(**parameters)], CLUSTER)


def test_an_implementation_that_a_node_has_not_is_refused() -> None:
    without = {"kvstore_implementations": ["native"]}
    nodes = [probed(NODES[0]), probed(NODES[1], **without)]
    error = refused(nodes, kvstore="dist_sync", kvstore_implementation="mxnet")
    assert error.message == "b: its mxnet has no mxnet kvstore_implementation"
    assert "kvstore_implementation=native" in error.remedy


def test_a_spare_node_with_another_default_takes_nobodys_place() -> None:
    spare = Preflight([probed(NODES[1], "mxnet")])
    assert fit_nodes(spare, [training(kvstore="dist_sync")], CLUSTER, [probed(NODES[0])]) == []
    assert fit_nodes(spare, [training(kvstore="allreduce")], CLUSTER, [probed(NODES[0])]) == [NODES[1]]
