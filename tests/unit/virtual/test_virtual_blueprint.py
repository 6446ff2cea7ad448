from __future__ import annotations

import pytest

from harness.errors import BadInputError, ClusterError
from harness.virtual.blueprint import Blueprint, ClusterRequest, Options, designed


def test_a_new_cluster_gets_the_defaults() -> None:
    blueprint = designed("pi", ClusterRequest(), None)
    assert blueprint.options == Options("pi")
    assert (len(blueprint.nodes), blueprint.rate, blueprint.controller_rate, blueprint.memory) == (
        4,
        10**8,
        None,
        2**30,
    )


def test_what_is_not_said_stays() -> None:
    before = Options("pi", nodes=11, link="10mbit", cpu=0.3)
    assert designed("pi", ClusterRequest(memory="512MiB"), before).options == Options(
        "pi", nodes=11, link="10mbit", cpu=0.3, memory="512MiB"
    )


def test_a_profile_ends_an_earlier_share() -> None:
    before = Options("pi", cpu=0.3)
    assert designed("pi", ClusterRequest(profile="pi4"), before).options.cpu is None
    assert designed("pi", ClusterRequest(profile="pi4", cpu=0.2), before).options.cpu == 0.2


def test_single_nodes_have_speeds_of_their_own() -> None:
    said = ClusterRequest(cpu=0.1, node_profiles={"node03": "pi4"}, node_cpus={"node04": 0.5})
    options = designed("pi", said, None).options
    speeds = [options.speed_of(f"node0{n}") for n in (1, 2, 3, 4)]
    assert speeds == [("pi3", 0.1), ("pi3", 0.1), ("pi4", None), ("pi3", 0.5)]


def test_what_is_said_of_all_or_again_of_a_node_ends_what_was_said_of_it() -> None:
    before = Options("pi", node_profiles={"node03": "pi4"}, node_cpus={"node04": 0.5})
    assert designed("pi", ClusterRequest(memory="512MiB"), before).options.speed_of("node03") == ("pi4", None)
    assert designed("pi", ClusterRequest(node_cpus={"node03": 0.2}), before).options.speed_of("node03") == ("pi3", 0.2)
    assert designed("pi", ClusterRequest(cpu=0.1), before).options == Options("pi", cpu=0.1)
    assert designed("pi", ClusterRequest(profile="none"), before).options == Options("pi", profile="none")
    smaller = designed("pi", ClusterRequest(nodes=3), before).options
    assert (smaller.node_profiles, smaller.node_cpus) == ({"node03": "pi4"}, {})


def test_addresses_cannot_change_while_it_is_up() -> None:
    with pytest.raises(ClusterError, match=r"10\.77") as error:
        designed("pi", ClusterRequest(subnet="10.78.0.0/24"), Options("pi"))
    assert "harness cluster down" in error.value.remedy


def test_the_release_cannot_change_while_it_is_up() -> None:
    assert designed("pi", ClusterRequest(suite="trixie"), None).options.suite == "trixie"
    assert designed("pi", ClusterRequest(nodes=2), Options("pi", suite="trixie")).options.suite == "trixie"
    with pytest.raises(ClusterError, match="is up with nodes of Debian bookworm") as error:
        designed("pi", ClusterRequest(suite="trixie"), Options("pi"))
    assert "harness cluster down" in error.value.remedy


def test_dilated_time_slows_the_links_and_shows_in_their_marks() -> None:
    real, dilated = Blueprint.of(Options("pi")), Blueprint.of(Options("pi", dilation=2.5))
    assert (real.slowed(10**8), real.mark("100mbit")) == (10**8, "100mbit")
    assert (dilated.rate, dilated.slowed(dilated.rate), dilated.mark("100mbit")) == (10**8, 4 * 10**7, "100mbit/2.5")
    assert dilated.mark("none") == "none"


@pytest.mark.parametrize(
    "options",
    [
        Options("pi", nodes=0),
        Options("pi", link="fast"),
        Options("pi", controller_link="slow"),
        Options("pi", profile="pi9"),
        Options("pi", cpu=0),
        Options("pi", node_profiles={"node03": "pi9"}),
        Options("pi", node_cpus={"node03": 0}),
        Options("pi", node_cpus={"node05": 0.1}),
        Options("pi", dilation=0.5),
        Options("pi", dilation=20, cpu=0.019, cpu_model="quota"),
        Options("pi", cpu_model="fast"),
        Options("pi", dilation=20, node_cpus={"node03": 0.019}, cpu_model="quota"),
        Options("pi", memory="1"),
        Options("pi", subnet="x"),
        Options("pi", suite="sid"),
    ],
)
def test_options_that_cannot_be_are_refused_with_a_remedy(options: Options) -> None:
    with pytest.raises(BadInputError) as error:
        Blueprint.of(options)
    assert error.value.remedy


def test_a_share_that_the_kernel_keeps_in_dilated_time_is_taken() -> None:
    assert Blueprint.of(Options("pi", dilation=20, cpu=0.02, node_cpus={"node03": 0.03})).options.cpu == 0.02


def test_a_node_that_is_not_there_is_named() -> None:
    with pytest.raises(BadInputError, match="node05"):
        Blueprint.of(Options("pi")).node("node05")
