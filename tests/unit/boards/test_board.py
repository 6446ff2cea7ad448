"""What the user says of boards, and what may stand in an inventory."""

from __future__ import annotations

import pytest

from harness.boards.board import MOST_ADDRESSES, Board, addresses_of, read_boards
from harness.boards.find import neighbours
from harness.errors import BadInputError


def test_names_addresses_and_both_are_boards() -> None:
    found = read_boards(["kitchen=192.168.10.11, 192.168.10.12", "Attic.local"])
    assert found == [Board("kitchen", "192.168.10.11"), Board("pi02", "192.168.10.12"), Board("attic", "Attic.local")]


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("a=192.168.10.11,a=192.168.10.12", "two boards have the name a"),
        ("a=192.168.10.11,b=192.168.10.11", "two boards have the address 192.168.10.11"),
        ("a=192.168.10.256", "192.168.10.256 is no name and no IPv4 address"),
        ("a=fe80::1", "fe80::1 is an IPv6 address"),
        ("a b=192.168.10.11", "a board cannot be called a b"),
        ("a=", " is no name and no IPv4 address"),
        ("pi01=$(reboot)", "is no name and no IPv4 address"),
    ],
)
def test_what_is_no_board_is_named(said: str, named: str) -> None:
    with pytest.raises(BadInputError) as error:
        read_boards([said])
    assert named in error.value.message
    assert error.value.remedy


def test_a_network_is_bounded() -> None:
    assert addresses_of("192.168.10.4/30") == ["192.168.10.5", "192.168.10.6"]
    assert len(addresses_of("10.0.0.0/22")) <= MOST_ADDRESSES
    for network in ("10.0.0.0/8", "home", "fe80::/64", "10.0.0.0/33"):
        with pytest.raises(BadInputError, match=network):
            addresses_of(network)


def test_the_kernels_table_says_whose_hardware_answers() -> None:
    table = (
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "192.168.10.11    0x1         0x2         B8:27:EB:01:02:03     *        eth0\n"
        "torn\n"
    )
    assert neighbours(table) == {"192.168.10.11": "b8:27:eb:01:02:03"}
