"""What every rank finds in its environment: the whole table, on three nodes."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, get_args

import pytest
from launch_parts import CLUSTER, NODES

from harness.errors import BadInputError
from harness.experiment.catalog import find_program
from harness.experiment.plan import Trial
from harness.experiment.program import FrameworkName, Need, Program, Role
from harness.launch.frameworks import FRAMEWORKS
from harness.launch.placement import Placement, SentCode, place_trial
from harness.nodes.inventory import Cluster

SENT = SentCode("agent", {"train.py": "agent/programs/train.py", "p.py": "own/p.py"})
THREE = tuple(replace(node, threads=1, cores=4, memory_bytes=1 << 30) for node in NODES)


def placed(program: Program, environment: dict[str, str] | None = None, **parameters: Any) -> Placement:
    trial = Trial("t", 3, 1, "", program, parameters, environment or {})
    return place_trial(trial, THREE, 9100, SENT, "s3cret", cluster=CLUSTER)


def neutral(role: str, number: int, count: int, node: int) -> dict[str, str]:
    return {
        "HARNESS_ROLE": role,
        "HARNESS_RANK": str(number),
        "HARNESS_WORLD_SIZE": str(count),
        "HARNESS_ROOT_ADDRESS": "127.0.0.1",
        "HARNESS_ROOT_PORT": "9100",
        "HARNESS_NODE": "abc"[node],
        "HARNESS_NODE_ADDRESS": f"127.0.0.{node + 1}",
        "HARNESS_CORES": "4",
        "HARNESS_MEMORY_BYTES": str(1 << 30),
        "HARNESS_DATA": "/nowhere/data",
        "HARNESS_TRIAL_TOKEN": "s3cret",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": "/nowhere/code/agent",
        "PYTHONUNBUFFERED": "1",
    }


def test_ps_lites_ranks_find_all_that_they_need() -> None:
    def expected(role: str, number: int, count: int, node: int) -> dict[str, str | None]:
        return {
            **neutral(role, number, count, node),
            "PORT": None,
            "DMLC_ROLE": role,
            "DMLC_NODE_HOST": f"127.0.0.{node + 1}",
            "DMLC_PS_ROOT_URI": "127.0.0.1",
            "DMLC_PS_ROOT_PORT": "9100",
            "DMLC_NUM_WORKER": "3",
            "DMLC_NUM_SERVER": "2",
        }

    found = placed(find_program("train.py"), kvstore="dist_sync", servers=2)
    assert {rank.name: dict(rank.environment) for rank in found.ranks} == {
        "scheduler0": expected("scheduler", 0, 1, 0),
        "server0": expected("server", 0, 2, 0),
        "server1": expected("server", 1, 2, 1),
        "worker0": expected("worker", 0, 3, 0),
        "worker1": expected("worker", 1, 3, 1),
        "worker2": expected("worker", 2, 3, 2),
    }
    assert [rank.name for rank in found.finishing] == ["worker0", "worker1", "worker2"]
    assert found.ranks[0].command == (
        "/nowhere/runtime/bin/python", "/nowhere/code/agent/programs/train.py", "--kvstore=dist_sync",
    )  # fmt: skip


def test_an_experiment_sets_what_is_common_and_not_who_a_rank_is() -> None:
    given = {"DMLC_PS_ROOT_PORT": "1", "OMP_NUM_THREADS": "2", "DMLC_ROLE": "worker", "HARNESS_RANK": "9"}
    scheduler = placed(find_program("train.py"), given, kvstore="dist_sync").ranks[0].environment
    assert [scheduler[name] for name in given] == ["1", "2", "scheduler", "0"]


def test_a_plain_program_is_one_process_a_node_with_neutral_names_alone() -> None:
    found = placed(Program(command="p.py"), size=3)
    assert {rank.name: dict(rank.environment) for rank in found.ranks} == {
        f"worker{n}": neutral("worker", n, 3, n) for n in range(3)
    }
    assert found.ranks[1].command == ("/usr/bin/python3", "/nowhere/code/own/p.py", "--size=3")


def test_torchs_and_mpis_names() -> None:
    worker = placed(Program(command="p.py", framework="torch")).ranks[2].environment
    names = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    assert [worker[name] for name in names] == ["127.0.0.1", "9100", "2", "3", "0", "1"]
    worker = placed(Program(command="p.py", framework="mpi")).ranks[2].environment
    assert [worker[name] for name in ("OMPI_COMM_WORLD_RANK", "PMI_SIZE")] == ["2", "3"]


def test_ranks_that_share_a_node_are_numbered_there() -> None:
    roles: Any = {"worker": {"on": "host:b", "count": 2}}
    one, two = placed(Program(command="p.py", framework="torch", roles=roles)).ranks
    assert [(r.node.name, r.environment["RANK"], r.environment["LOCAL_RANK"]) for r in (one, two)] == [
        ("b", "0", "0"),
        ("b", "1", "1"),
    ]
    assert two.environment["LOCAL_WORLD_SIZE"] == "2"


def test_roles_are_where_they_are_declared_to_be() -> None:
    cluster = replace(CLUSTER, others=(replace(NODES[0], name="big", groups=frozenset({"fast"})),))
    roles: Any = {
        "boss": {"on": "host:big", "ends": "serves"},
        "helper": {"on": "group:fast", "ends": "serves"},
        "driver": {"on": "controller"},
        "worker": {"ends": "serves"},
    }
    trial = Trial("t", 2, 1, "", Program(command="p.py", roles=roles), {}, {})
    found = place_trial(trial, NODES[:2], 1, SENT, "", cluster=cluster)
    assert [(rank.name, rank.node.name) for rank in found.ranks] == [
        ("boss0", "big"),
        ("helper0", "big"),
        ("driver0", "controller"),
        ("worker0", "a"),
        ("worker1", "b"),
    ]
    assert [rank.name for rank in found.finishing] == ["driver0"]


@pytest.mark.parametrize(
    ("role", "says"),
    [
        ({"on": "host:nobody"}, "role worker is on host:nobody, but the inventory has no such host"),
        ({"count": 4}, "4 workers on 3 nodes"),
        ({"count": 0}, "p.py has no rank that finishes with these parameters"),
    ],
)
def test_a_role_that_has_no_place_is_refused(role: Any, says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        placed(Program(command="p.py", roles={"worker": role}))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"hands": -1}, "parameter hands: there cannot be -1 workers"),
        ({"hands": 0}, "no rank that finishes"),
        ({"mode": "off"}, "no rank that finishes"),
    ],
)
def test_a_trial_without_a_rank_that_finishes_is_refused(values: dict[str, Any], says: str) -> None:
    described: Any = {
        "roles": {
            "server": {"on": "first", "ends": "serves"},
            "worker": {"count": "hands", "when": {"mode": "on"}},
        },
        "parameters": {
            "hands": {"type": "int", "help": "Workers."},
            "mode": {"type": "choice", "choices": ["on", "off"], "default": "on", "help": "Whether."},
        },
    }
    with pytest.raises(BadInputError, match=says):
        placed(Program(command="p.py", **described), **values)


def test_a_host_may_not_pass_for_the_controller() -> None:
    cluster = replace(CLUSTER, others=(replace(NODES[0], name="controller"),))
    trial = Trial("t", 2, 1, "", Program(command="p.py", roles={"driver": Role(on="controller")}), {}, {})
    with pytest.raises(BadInputError, match="a host of the inventory has that name"):
        place_trial(trial, NODES[:2], 1, SENT, "", cluster=cluster)


def test_a_framework_names_the_node_where_its_own_rank_listens() -> None:
    """Whichever role a description names first."""
    roles: Any = {"worker": {}, "scheduler": {"on": "host:b", "ends": "serves"}}
    ranks = placed(Program(command="p.py", framework="mxnet", roles=roles)).ranks
    assert {rank.environment["DMLC_PS_ROOT_URI"] for rank in ranks} == {"127.0.0.2"}
    roles = {"driver": {"on": "host:c"}, "worker": {"ends": "serves"}}
    ranks = placed(Program(command="p.py", framework="torch", roles=roles)).ranks
    addresses = {rank.name: rank.environment["MASTER_ADDR"] for rank in ranks}
    assert addresses == {"driver0": "127.0.0.3", **dict.fromkeys(("worker0", "worker1", "worker2"), "127.0.0.1")}


def test_every_framework_that_a_description_may_name_is_there() -> None:
    assert set(FRAMEWORKS) == set(get_args(FrameworkName))


def test_a_rank_on_the_controller_runs_in_the_harness_s_own_python() -> None:
    roles: Any = {"driver": {"on": "controller"}}
    (driver,) = placed(Program(command="p.py", roles=roles, runtime=(Need(part="mxnet"),))).ranks
    assert driver.command[0] == sys.executable


def test_dasks_ranks_find_the_scheduler_and_one_certificate() -> None:
    roles: Any = {
        "scheduler": {"on": "first", "count": 1, "ends": "serves"},
        "worker": {"ends": "serves"},
        "driver": {"on": "host:b"},
    }
    program = Program(command="p.py", framework="dask", roles=roles, runtime=(Need(part="dask"),), runs_in="dask")
    ranks = placed(program).ranks
    assert {rank.environment["DASK_SCHEDULER_ADDRESS"] for rank in ranks} == {"tls://127.0.0.1:9100"}
    assert {rank.environment["DASK_HARNESS__WORKERS"] for rank in ranks} == {"3"}
    assert {rank.environment["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] for rank in ranks} == {"True"}
    assert len({rank.environment["DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY"] for rank in ranks}) == 1
    assert [rank.environment["DASK_WORKER_NAME"] for rank in ranks][:2] == ["scheduler0", "worker0"]
    assert {rank.command[0] for rank in ranks} == {"/nowhere/runtimes/dask/bin/python"}


def test_of_several_places_the_first_counts_that_the_inventory_has() -> None:
    def node_of(on: str) -> list[str]:
        roles: Any = {"boss": {"on": on, "count": 1}}
        return [rank.node.name for rank in placed(Program(command="p.py", roles=roles)).ranks]

    assert node_of("group:nowhere|first") == ["a"]
    assert node_of("host:b|first") == ["b"]
    assert node_of("group:nowhere|host:c") == ["c"]
    with pytest.raises(BadInputError, match="has no such host"):
        node_of("group:nowhere|host:nobody")
    with pytest.raises(ValueError, match="is no place"):
        Role(on="first|")


def test_servers_are_on_the_machines_of_the_group_servers_where_the_inventory_has_it() -> None:
    centre = replace(NODES[2], name="centre", groups=frozenset({"servers"}))
    program = find_program("train.py")

    def servers(cluster: Cluster, **parameters: Any) -> list[str]:
        trial = Trial("t", 2, 1, "", program, {"kvstore": "dist_sync", **parameters}, {})
        found = place_trial(trial, NODES[:2], 9100, SENT, "", cluster=cluster)
        return [rank.node.name for rank in found.ranks if rank.role == "server"]

    wired = replace(CLUSTER, nodes=NODES[:2], others=(centre,))
    assert servers(wired) == ["centre"]
    assert servers(CLUSTER) == ["a", "b"]
    for cluster, machines in ((wired, 1), (CLUSTER, 2)):
        with pytest.raises(BadInputError, match=f"{machines + 1} servers on {machines} nodes"):
            servers(cluster, servers=machines + 1)
