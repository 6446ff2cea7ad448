"""How long steps and epochs are expected to take, against figures that were worked out by hand or measured."""

from __future__ import annotations

import numpy as np
import pytest

from harness.advise.costs import Costs, epoch_seconds, link_seconds, meeting_seconds, stated_costs
from harness.check.estimates import Traffic

LINK = 100e6


def moved(sent: float, phased: float | None = None, meetings: float = 10.0, *, hides: bool = True) -> Traffic:
    return Traffic(
        meetings=meetings, sent_bytes=sent, phased_bytes=sent if phased is None else phased, hides=hides, exact=True,
        one_model=True,
    )  # fmt: skip


def certain(group: float = 0.0, peer: float = 0.0, exposed: float = 1.0, hidden: float = 0.0) -> Costs:
    return Costs(*(np.array([each]) for each in (group, peer, exposed, hidden, 1.0)))


def test_a_link_of_100_mbit_carries_11_8_mb_a_second() -> None:
    assert 1 / link_seconds(1, LINK) == pytest.approx(11.76e6, rel=0.002)
    assert link_seconds(2 * 10 / 11 * 246_824, LINK) == pytest.approx(0.038, rel=0.01)
    assert link_seconds(2 * 10 * 246_824, LINK) == pytest.approx(0.420, rel=0.01)


def test_what_travels_hides_behind_a_part_of_computing() -> None:
    wire = link_seconds(1e6, LINK)
    (plain,) = meeting_seconds(0.1, 2, moved(1e6), LINK, certain())
    (hiding,) = meeting_seconds(0.1, 2, moved(1e6), LINK, certain(hidden=0.5))
    (averaging,) = meeting_seconds(0.1, 2, moved(1e6, hides=False), LINK, certain(hidden=0.5))
    assert (plain, averaging) == (pytest.approx(0.1 + wire), pytest.approx(0.1 + wire))
    assert hiding == pytest.approx(0.1 + wire - 0.05)


def test_no_step_is_shorter_than_its_busiest_link_is_busy() -> None:
    (seconds,) = meeting_seconds(0.1, 2, moved(10e6), LINK, certain(exposed=0.1))
    assert seconds == pytest.approx(link_seconds(10e6, LINK))


def test_messages_cost_a_group_and_each_further_node() -> None:
    (seconds,) = meeting_seconds(0.1, 5, moved(0), LINK, certain(group=0.01, peer=0.002))
    assert seconds == pytest.approx(0.1 + 0.01 + 4 * 0.002)


def test_steps_without_a_meeting_take_as_long_as_alone() -> None:
    often = epoch_seconds(0.1, 2, 10, moved(1e6), LINK, certain())
    seldom = epoch_seconds(0.1, 2, 10, moved(1e6, meetings=1), LINK, certain())
    assert often.value == pytest.approx(10 * (0.1 + link_seconds(1e6, LINK)))
    assert seldom.value == pytest.approx(10 * 0.1 + link_seconds(1e6, LINK))
    for nothing in (
        epoch_seconds(0.1, 1, 10, moved(1e6), LINK, certain()),
        epoch_seconds(0.1, 2, 10, moved(0, meetings=0), LINK, certain()),
    ):
        assert (nothing.value, nothing.low, nothing.high) == (1.0, 1.0, 1.0)


def test_stated_costs_have_a_range_of_what_hides() -> None:
    costs = stated_costs()
    assert costs.weights.sum() == pytest.approx(1)
    seconds = epoch_seconds(0.1, 11, 1, moved(448_771, meetings=1), LINK, costs)
    assert seconds.low == pytest.approx(0.1 + 10 * 0.0005)
    assert seconds.high == pytest.approx(0.1 + 10 * 0.0005 + 0.038, rel=0.01)
    assert seconds.low < seconds.value < seconds.high
