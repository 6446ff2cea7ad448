"""What forbids a start, and what is only said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from launch_parts import CLUSTER, NODES, trial

from harness.check.findings import Finding, Probed, node_findings, with_environments
from harness.check.network import network_findings
from harness.check.preflight import Preflight, fit_nodes, require, warnings_of
from harness.contract.json_line import Json
from harness.errors import BadInputError
from harness.experiment.catalog import find_program
from harness.experiment.plan import Trial

RUNTIME = {"mxnet": "1.9.1", "python": "3.11.2", "stores": ["dist_sync"]}


def probed(skew: float = 0.0, **values: object) -> Probed:
    answer: Json = {
        "memory_available_bytes": 1 << 30,
        "disk_free_bytes": 1 << 30,
        "sudo": True,
        "runtime": RUNTIME,
        "throttled": None,
        "running": [],
        "held": None,
        "data": {},
        **values,
    }
    return Probed(NODES[0], answer, skew)


def training(**parameters: str) -> Trial:
    return replace(trial(1), program=find_program("train.py"), parameters=parameters)


def refused(node: Probed, run: str | None = None, **parameters: str) -> str:
    with pytest.raises(BadInputError) as caught:
        require(Preflight([node]), [training(**parameters)], CLUSTER, run)
    assert caught.value.remedy
    return caught.value.message


def test_a_fit_node_may_start() -> None:
    require(Preflight([probed()]), [training(kvstore="dist_sync", dataset="digits")], CLUSTER)
    assert fit_nodes(Preflight([probed()]), [], CLUSTER) == [NODES[0]]


def test_what_forbids_a_start_names_the_node() -> None:
    assert refused(probed(disk_free_bytes=10 << 20)) == "a: 10 MiB of disk free at /nowhere"
    assert "a: sudo asks for a password" in refused(probed(sudo=False))
    assert "has no runtime at /nowhere/runtime" in refused(probed(runtime=None))
    assert "has no dist_async store" in refused(probed(), kvstore="dist_async")
    assert "has no data set mnist" in refused(probed(), kvstore="local", dataset="mnist")
    wrong = {"mnist": {"wrong": ["train-images"]}}
    assert "train-images is not whole" in refused(probed(data=wrong), kvstore="local", dataset="mnist")


def test_a_held_node_names_its_holder() -> None:
    holder = {"run": "R", "harness": "me@here, process 7"}
    assert refused(probed(held=holder)) == "a: is held by run R (me@here, process 7)"
    assert refused(probed(running=["R/t/worker0"])) == "a: is held by run R"
    require(Preflight([probed(running=["R/t/worker0"])]), [], CLUSTER, run="R")
    assert fit_nodes(Preflight([probed(held=holder)]), [], CLUSTER) == []


def test_several_faults_are_counted() -> None:
    found = Preflight([probed(runtime=None)], [Finding("b", "ssh", "failed", "b: cannot be reached", "power")])
    with pytest.raises(BadInputError, match=r"b: cannot be reached \(and 1 more: a\)"):
        require(found, [], CLUSTER)


def test_a_job_that_brings_its_own_python_needs_no_runtime() -> None:
    require(Preflight([probed(runtime=None)]), [], CLUSTER, needs_runtime=False)


@pytest.mark.parametrize(
    ("node", "what"),
    [
        (probed(skew=3600.0), "clock is off by 3600.0 s"),
        (probed(memory_available_bytes=50 << 20), "50 MiB of memory available"),
        (probed(throttled="0x50005"), "throttled=0x50005"),
    ],
)
def test_what_is_only_said(node: Probed, what: str) -> None:
    assert [finding.detail for finding in warnings_of(Preflight([node]))] == [what]
    require(Preflight([node]), [], CLUSTER)
    assert all(finding.remedy for finding in node_findings(node, "site") if finding.level != "ok")


@pytest.mark.parametrize(("dilation", "slowest", "rate"), [(1.0, "6.0 ms", "31 Mbit/s"), (3.0, "2.0 ms", "94 Mbit/s")])
def test_the_network_is_judged_in_undilated_time(dilation: float, slowest: str, rate: str) -> None:
    answer = {"reached": {"127.0.0.2": 0.006, "127.0.0.3": 0.003}, "bytes_per_second": 94.1e6 / 8 / 3}
    (found,) = network_findings(NODES[0], answer, {"127.0.0.2": "b", "127.0.0.3": "c"}, dilation)
    assert (found.level, found.detail) == ("ok", f"reaches 2 peers, slowest in {slowest}; sends {rate} to the next")


def test_a_peer_out_of_reach_is_named() -> None:
    answer = {"reached": {"127.0.0.2": "timed out", "127.0.0.3": 0.003}, "bytes_per_second": None}
    (found,) = network_findings(NODES[0], answer, {"127.0.0.2": "b", "127.0.0.3": "c"})
    assert (found.level, found.detail) == ("failed", "cannot reach b (127.0.0.2) on the store's port: timed out")


def test_the_controller_needs_no_runtime_and_no_data() -> None:
    here = probed(runtime=None)
    here.node = replace(NODES[0], controller=True)
    require(Preflight([here]), [training(kvstore="none", dataset="mnist")], CLUSTER)


FOREST = replace(trial(1), program=find_program("forest.py"), parameters={"via": "batches"})


def test_a_program_with_an_environment_of_its_own_needs_no_other() -> None:
    there = {"dask": {"dask": "2026.8.0", "lz4": "4.4.5", "scikit_learn": "1.9.1"}}
    require(Preflight([probed(runtime=None, runtimes=there)]), [FOREST], CLUSTER)


def test_a_program_whose_environment_is_missing_is_refused_with_the_command_that_helps() -> None:
    for answer in ({"runtimes": {}}, {}):
        with pytest.raises(BadInputError) as caught:
            require(Preflight([probed(**answer)]), [FOREST], CLUSTER)
        assert caught.value.message == "a: has no environment dask at /nowhere/runtimes/dask"
        assert caught.value.remedy.endswith("""-e '{"node_runtimes": ["dask"]}'""")
    with pytest.raises(BadInputError, match="has no scikit_learn"):
        require(Preflight([probed(runtimes={"dask": {"dask": "1"}})]), [FOREST], CLUSTER)


def test_a_node_that_has_only_another_environment_is_as_it_should_be() -> None:
    node = probed(runtime=None, runtimes={"dask": {"python": "3.11.2"}})
    levels = {finding.what: finding.level for finding in with_environments(node_findings(node, "site"), node)}
    assert levels["dask"] == "ok"
    assert "runtime" not in levels
    bare = probed(runtime=None, runtimes={})
    assert "failed" in [each.level for each in with_environments(node_findings(bare, "site"), bare)]
