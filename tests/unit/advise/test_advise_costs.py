"""How long steps and epochs are expected to take, against figures that were worked out by hand or measured."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from harness.advise.costs import (
    Costs,
    link_seconds,
    meeting_seconds,
    stated_costs,
    steps_seconds,
    told_seconds,
    wire_seconds,
)
from harness.check.estimates import Traffic
from harness.virtual.link import Link

RATE = 100e6
LINK = Link(int(RATE))
MEDIUM = Link(30_000_000, shared=True)


def moved(sent: float, phased: float | None = None, meetings: float = 10.0, **more: float | None) -> Traffic:
    """All of it behind all of computing, if nothing else is said."""
    return Traffic(
        meetings=meetings, sent_bytes=sent, phased_bytes=sent if phased is None else phased, exact=True, one_model=True,
        **{"hides": 1.0, **more},
    )  # fmt: skip


def certain(group: float = 0.0, peer: float = 0.0, exposed: float = 1.0, hidden: float = 0.0) -> Costs:
    return Costs(*(np.array([each]) for each in (group, peer, exposed, hidden, 1.0)))


def test_a_link_of_100_mbit_carries_11_8_mb_a_second() -> None:
    assert 1 / link_seconds(1, RATE) == pytest.approx(11.76e6, rel=0.002)
    assert link_seconds(2 * 10 / 11 * 246_824, RATE) == pytest.approx(0.038, rel=0.01)
    assert link_seconds(2 * 10 * 246_824, RATE) == pytest.approx(0.420, rel=0.01)


def test_what_travels_hides_behind_a_part_of_computing() -> None:
    wire = link_seconds(1e6, RATE)
    (plain,) = meeting_seconds(0.1, 2, moved(1e6), LINK, certain())
    (hiding,) = meeting_seconds(0.1, 2, moved(1e6), LINK, certain(hidden=0.5))
    (averaging,) = meeting_seconds(0.1, 2, moved(1e6, hides=0.0), LINK, certain(hidden=0.5))
    assert (plain, averaging) == (pytest.approx(0.1 + wire), pytest.approx(0.1 + wire))
    assert hiding == pytest.approx(0.1 + wire - 0.05)


def test_what_a_program_says_of_hiding_bounds_what_hides() -> None:
    stated = replace(certain(hidden=0.5), of_all=False)
    window = moved(1e6, hides=0.4, shown_bytes=0.25e6)  # behind at most 0.4 of 0.1 s travel three quarters
    (seconds,) = meeting_seconds(0.1, 2, window, LINK, stated)
    assert seconds == pytest.approx(0.1 + link_seconds(1e6, RATE) - 0.5 * 0.4 * 0.1)
    (seconds,) = meeting_seconds(10.0, 2, window, LINK, stated)
    assert seconds == pytest.approx(10.0 + link_seconds(0.25e6, RATE))


def test_bytes_and_requests_take_the_processor_s_time_too() -> None:
    costs = replace(certain(), byte_seconds=1e-8, request_seconds=0.001)
    (seconds,) = meeting_seconds(0.1, 2, moved(1e6, hides=0.0, requests=60), LINK, costs)
    assert seconds == pytest.approx(0.1 + link_seconds(1e6, RATE) + 0.01 + 0.06)


def test_on_one_medium_all_bytes_of_all_nodes_go_one_after_another() -> None:
    """Each is on the air twice: four nodes that add up P bytes put 4 * 3 * P on the air."""
    values = 246_824
    sums = moved(2 * 3 / 4 * values)
    assert wire_seconds(sums, 4, MEDIUM) == pytest.approx(4 * 3 * values / (1448 / 1538) * 8 / 30e6)
    (seconds,) = meeting_seconds(0.1, 4, sums, MEDIUM, certain())
    assert seconds == pytest.approx(0.1 + wire_seconds(sums, 4, MEDIUM))
    (hiding,) = meeting_seconds(0.1, 4, sums, MEDIUM, certain(hidden=0.5))
    assert hiding == pytest.approx(seconds - 0.05)
    (bound,) = meeting_seconds(0.1, 4, sums, MEDIUM, certain(exposed=0.1))
    assert bound == pytest.approx(wire_seconds(sums, 4, MEDIUM))
    unlike = moved(1e6, total_bytes=1.5e6)  # one node sends twice what the other does
    assert wire_seconds(unlike, 2, MEDIUM) == pytest.approx(link_seconds(3e6, 30e6))
    assert wire_seconds(unlike, 2, LINK) == pytest.approx(link_seconds(1e6, RATE))


def test_what_is_told_once_an_epoch_is_no_part_of_its_steps() -> None:
    told = moved(0, told_bytes=1e6)
    costs = replace(certain(), byte_seconds=1e-8)
    assert told_seconds(told, 3, LINK, costs) == pytest.approx(link_seconds(1e6, RATE) + 0.01)
    assert told_seconds(told, 3, MEDIUM, costs) == pytest.approx(link_seconds(6e6, 30e6) + 0.01)
    assert steps_seconds(0.1, 3, 10, told, LINK, costs).value == pytest.approx(1.0)


def test_no_step_is_shorter_than_its_busiest_link_is_busy() -> None:
    (seconds,) = meeting_seconds(0.1, 2, moved(10e6), LINK, certain(exposed=0.1))
    assert seconds == pytest.approx(link_seconds(10e6, RATE))


def test_messages_cost_a_group_and_each_further_node() -> None:
    (seconds,) = meeting_seconds(0.1, 5, moved(0), LINK, certain(group=0.01, peer=0.002))
    assert seconds == pytest.approx(0.1 + 0.01 + 4 * 0.002)


def test_steps_without_a_meeting_take_as_long_as_alone() -> None:
    often = steps_seconds(0.1, 2, 10, moved(1e6), LINK, certain())
    seldom = steps_seconds(0.1, 2, 10, moved(1e6, meetings=1), LINK, certain())
    assert often.value == pytest.approx(10 * (0.1 + link_seconds(1e6, RATE)))
    assert seldom.value == pytest.approx(10 * 0.1 + link_seconds(1e6, RATE))
    for nothing in (
        steps_seconds(0.1, 1, 10, moved(1e6), LINK, certain()),
        steps_seconds(0.1, 2, 10, moved(0, meetings=0), LINK, certain()),
    ):
        assert (nothing.value, nothing.low, nothing.high) == (1.0, 1.0, 1.0)


def test_stated_costs_have_a_range_of_what_hides() -> None:
    costs = stated_costs()
    assert costs.weights.sum() == pytest.approx(1)
    seconds = steps_seconds(0.05, 11, 1, moved(448_771, meetings=1), LINK, costs)
    handled = 0.05 + 10 * 0.0005 + 448_771 * 5e-9
    wire = 0.0381 * (1 + 0.15 * math.log2(11 / 2))
    assert seconds.low == pytest.approx(handled + wire - 0.05, rel=0.01)
    assert seconds.high == pytest.approx(handled + wire - 0.025, rel=0.01)
    assert seconds.low < seconds.value < seconds.high


def test_links_are_filled_the_less_the_more_nodes_send_to_each_other() -> None:
    costs, wire = replace(certain(), uneven=0.15), link_seconds(1e6, RATE)
    for nodes, among, longer in ((2, None, 1.0), (4, None, 1.15), (8, None, 1.3), (8, 2, 1.0), (8, 1, 1.0)):
        (seconds,) = meeting_seconds(0.1, nodes, moved(1e6, hides=0.0, among=among), LINK, costs)
        assert seconds == pytest.approx(0.1 + longer * wire)
