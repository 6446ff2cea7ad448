"""Whose power is known in a sweep: by inventory, command line, or what was published of the board."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plugs import Plug as SimulatedPlug

from harness.energy.address import Fixed, OwnFile, Plug
from harness.energy.look import meter_findings
from harness.energy.metering import Metered, Metering, metering_of
from harness.energy.published import PUBLISHED
from harness.errors import BadInputError
from harness.nodes.inventory import Cluster
from harness.nodes.read_inventory import build_cluster, load_cluster
from harness.virtual.cpu.profile import PROFILES

SECRET = "shelly2://admin:hunter2@10.0.0.7/0"  # noqa: S105 - of nothing


def cluster(hosts: dict[str, dict[str, Any]], **more: Any) -> Cluster:
    addressed = {
        name: {"ansible_host": f"10.0.0.{number}", **more, **own} for number, (name, own) in enumerate(hosts.items(), 1)
    }
    return build_cluster(Path("/inventory/hosts.yml"), addressed)


def test_nodes_have_their_meters_or_what_was_published_and_others_are_named() -> None:
    found = metering_of(
        cluster(
            {
                "a": {"node_power_meter": "shelly2://10.0.1.1/0", "node_profile": "pi4"},
                "b": {"node_profile": "pi3"},
                "c": {"node_power_meter": "csv:power.csv"},
                "d": {},
            },
            cluster_power_meters={"switch": "tasmota://10.0.1.2"},
        ),
        ["controller=watts:12?idle=9"],
        10,
    )
    pi3 = PUBLISHED["pi3"]
    assert found.things == (
        Metered("a", "node", Plug("shelly2", "10.0.1.1", user="admin")),
        Metered("b", "node", Fixed(pi3.watts, "estimate", pi3.source, pi3.idle_watts)),
        Metered("c", "node", OwnFile(Path("/inventory/power.csv"))),
        Metered("switch", "other", Plug("tasmota", "10.0.1.2", user="admin")),
        Metered("controller", "other", Fixed(12.0, "declared", "", 9.0)),
    )
    assert found.waits_for_idle
    assert [each.name for each in found.of_nodes({"b", "d"}).things] == ["b", "switch", "controller"]
    assert [each.name for each in found.of_nodes(set()).things] == ["switch", "controller"]


def test_the_command_line_comes_before_the_inventory() -> None:
    declared = cluster({"a": {"node_power_meter": "shelly2://10.0.1.1/0"}})
    (found,) = metering_of(declared, ["a=shelly1://10.0.1.9?idle=2"], 10).things
    assert found == Metered("a", "node", Plug("shelly1", "10.0.1.9", user="admin", idle_watts=2.0))


def test_one_plug_for_all_nodes_takes_the_place_of_their_estimates() -> None:
    found = metering_of(cluster({"a": {"node_profile": "pi4"}, "b": {}}), ["cluster=shelly1://10.0.1.9"])
    assert [(each.name, each.part) for each in found.things] == [("cluster", "other")]
    with pytest.raises(BadInputError, match=r"a meter of all nodes \(cluster\) and one of a"):
        metering_of(cluster({"a": {"node_power_meter": "watts:3"}}), ["cluster=shelly1://10.0.1.9"])


def test_nobody_waits_where_idle_is_declared_or_nothing_is_measured() -> None:
    declared = Metered("a", "node", Plug("shelly1", "h", idle_watts=1.0))
    assert not Metering((declared,), 10).waits_for_idle
    assert not Metering((Metered("a", "node", Fixed(3.0, "declared")),), 10).waits_for_idle
    assert not Metering((Metered("a", "node", Plug("shelly1", "h")),), 0).waits_for_idle
    assert Metering((declared, Metered("b", "node", OwnFile(Path("x")))), 10).waits_for_idle


@pytest.mark.parametrize(
    ("hosts", "more", "named", "says"),
    [
        ({"a": {"node_power_meter": "plug"}}, {}, [], "the power meter of a is of no kind"),
        ({"a": {"node_power_meter": 3}}, {}, [], "host a: node_power_meter is no text"),
        ({"a": {"node_power_meter": "x\ny"}}, {}, [], "host a: node_power_meter is no text"),
        ({"a": {}}, {"cluster_power_meters": "x"}, [], "host a: cluster_power_meters does not name meters"),
        ({"a": {}}, {"cluster_power_meters": {"a": "watts:3"}}, [], "names 'a', which is a node"),
        ({"a": {}}, {"cluster_power_meters": {"a b": "watts:3"}}, [], "cannot be a name"),
        ({"a": {}}, {}, ["switch"], "--power-meter names something"),
        ({"a": {}}, {}, ["s w=watts:3"], "--power-meter names something"),
        ({"a": {}}, {}, [f"switch={SECRET}"], "every user of this machine sees a password"),
        (
            {"a": {"node_power_meter": SECRET}, "b": {"node_power_meter": SECRET}},
            {},
            [],
            "a and b have the same power meter",
        ),
        (
            {"a": {"node_power_meter": SECRET}},
            {"cluster_kind": "virtual"},
            [],
            r"one machine carries: a power meter \(a\)",
        ),
        ({"a": {}}, {"cluster_time_dilation": 2}, ["switch=csv:x"], r"one machine carries: a power meter \(switch\)"),
    ],
)
def test_what_cannot_be_measured_is_refused_without_its_address(
    hosts: dict[str, dict[str, Any]], more: dict[str, Any], named: list[str], says: str
) -> None:
    with pytest.raises(BadInputError, match=says) as caught:
        metering_of(cluster(hosts, **more), named)
    assert "hunter2" not in f"{caught.value.message}{caught.value.remedy}"


def test_hosts_that_differ_in_the_clusters_meters_are_refused_by_names_alone() -> None:
    hosts = {
        "a": {"cluster_power_meters": {"switch": SECRET}},
        "b": {"cluster_power_meters": {"switch": SECRET.replace("7", "8")}},
    }
    with pytest.raises(BadInputError, match="different values of cluster_power_meters: meters of switch") as caught:
        cluster(hosts)
    assert "hunter2" not in caught.value.message


def test_a_virtual_node_is_estimated_by_its_profile() -> None:
    virtual = cluster({"node01": {"node_profile": "pi3"}}, cluster_kind="virtual", cluster_time_dilation=3)
    (found,) = metering_of(virtual).things
    assert isinstance(found.by, Fixed)
    assert (found.by.source, found.by.watts) == ("estimate", 3.7)


def test_what_is_published_is_of_profiles_and_names_its_source() -> None:
    assert set(PUBLISHED) <= set(PROFILES)
    assert all(one.source and 0 < one.idle_watts < one.watts for one in PUBLISHED.values())


def test_an_inventory_may_take_passwords_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(
        "nodes:\n"
        "  hosts:\n"
        '    pi01: {ansible_host: 192.0.2.1, node_power_meter: "shelly2://admin:{{ plug_password }}@192.0.2.7/0"}\n'
        "  vars:\n"
        "    plug_password: hunter2\n"
        '    cluster_power_meters: {switch: "shelly1://:{{ plug_password }}@192.0.2.8"}\n'
    )
    read = load_cluster(tmp_path)
    assert "hunter2" not in repr(read)
    node, switch = (each.by for each in metering_of(read).things)
    assert isinstance(node, Plug)
    assert isinstance(switch, Plug)
    assert (node.password, switch.password) == ("hunter2", "hunter2")


def test_check_asks_every_meter_once(tmp_path: Path) -> None:
    rows = tmp_path / "own.csv"
    rows.write_text("time,node,watts\n2026-11-28T04:00:00Z,c,2.5\n2026-11-28T04:00:01Z,c,3\n")
    with SimulatedPlug(3.25) as plug:
        silent = replace(_plug(plug), channel=7)
        things = (
            Metered("a", "node", _plug(plug)),
            Metered("b", "node", silent),
            Metered("c", "node", OwnFile(rows)),
            Metered("d", "node", OwnFile(tmp_path / "none.csv")),
            Metered("e", "other", Fixed(4.0, "declared")),
        )
        found = meter_findings(Metering(things))
    assert [(each.node, each.level) for each in found] == [
        ("a", "ok"), ("b", "warning"), ("c", "ok"), ("d", "warning"), ("e", "ok"),
    ]  # fmt: skip
    assert [each.detail.split(" (")[0] for each in found] == [
        "3.25 W", f"{silent.shown}: it answers with status 404", "3 W", f"csv:{tmp_path}/none.csv: there is no such file",
        "4 W, declared, not measured",
    ]  # fmt: skip


def _plug(plug: SimulatedPlug) -> Plug:
    return Plug("shelly2", "127.0.0.1", plug.port)
