from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInputError
from harness.units import bits_per_second, size_in_bytes
from harness.virtual.host import names, network


def test_nodes_have_the_first_addresses_and_the_controller_the_last() -> None:
    plan = names.AddressPlan.of("10.77.0.0/24")
    assert [plan.node(1), plan.node(11), plan.controller] == ["10.77.0.1", "10.77.0.11", "10.77.0.254"]


def test_hardware_addresses_are_local_and_follow_the_address() -> None:
    first, second = names.nodes_of("pi", 2, "10.77.0.0/24")
    assert (first.mac, second.mac) == ("02:00:0a:4d:00:01", "02:00:0a:4d:00:02")


@given(st.integers(1, names.MOST_NODES))
def test_every_cluster_size_has_distinct_parts(count: int) -> None:
    nodes = names.nodes_of("pi", count, names.DEFAULT_SUBNET)
    assert len(nodes) == count
    for part in ("name", "namespace", "address", "mac"):
        assert len({getattr(node, part) for node in nodes}) == count
    assert names.AddressPlan.of(names.DEFAULT_SUBNET).controller not in {node.address for node in nodes}


@pytest.mark.parametrize("count", [0, -1, names.MOST_NODES + 1])
def test_impossible_sizes_are_refused(count: int) -> None:
    with pytest.raises(BadInputError, match="1 to 99 nodes"):
        names.nodes_of("pi", count, names.DEFAULT_SUBNET)


@pytest.mark.parametrize("subnet", ["10.77.0.0/30", "10.77.0.1/24", "8.8.8.0/24", "nonsense", "fd00::/64"])
def test_impossible_subnets_are_refused(subnet: str) -> None:
    with pytest.raises(BadInputError):
        names.AddressPlan.of(subnet)


@pytest.mark.parametrize("name", ["", "Pi", "a-b", "9x", "x" * 16, "../x", "a b"])
def test_names_that_could_leave_their_place_are_refused(name: str) -> None:
    with pytest.raises(BadInputError):
        names.checked_name(name)


def test_a_cluster_owns_its_namespaces_and_no_others() -> None:
    assert all(names.is_namespace_of("a", name) for name in ("hv-a-sw", "hv-a-c", "hv-a-n01", "hv-a-n11"))
    assert not any(
        names.is_namespace_of("a", name) for name in ("hv-a-x", "hv-ab-n01", "hv-a-n1", "hv-a-n01x", "x-hv-a-c")
    )


@pytest.mark.parametrize("port", [names.node_name(1), names.node_name(names.MOST_NODES), network.CONTROLLER_PORT])
def test_interface_names_fit_the_kernel(port: str) -> None:
    assert len(network.card_of(port)) <= 15


def test_quantities_are_read() -> None:
    assert bits_per_second("100mbit") == 100_000_000
    assert bits_per_second("1Gbit") == 1_000_000_000
    assert size_in_bytes("1GiB") == 2**30
    assert size_in_bytes("512 MiB") == 2**29


@pytest.mark.parametrize("text", ["", "100", "fast", "-1mbit", "1kbit", "1000gbit"])
def test_rates_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="link rate"):
        bits_per_second(text)


@pytest.mark.parametrize("text", ["", "1", "1GB", "1MiB"])
def test_sizes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadInputError):
        size_in_bytes(text)
