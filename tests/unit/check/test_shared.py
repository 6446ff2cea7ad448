"""What nodes on one medium are told: its capacity with all of them at once, its shares, and each one's radio."""

from __future__ import annotations

from typing import Any

import pytest

from harness.check.answers import read_probe, read_reached
from harness.check.findings import Finding, Probed
from harness.check.shared import common_rates, on_radio, radio_findings, shared_findings
from harness.contract.json_line import Json
from harness.errors import NodeError
from harness.nodes.inventory import Node

WLAN = {"interface": "wlan0", "address": "10.0.0.1", "signal_dbm": -52.0, "bit_rate_mbit": 65.0, "power_saving": False}


def answers(*rates: float | None, dilation: float = 1.0) -> dict[str, Json | NodeError]:
    """Of nodes that sent at these rates (Mbit/s) for the same two seconds."""
    arrivals = [[] if rate is None else [(10.0, 0), (12.0, 2 * rate * 1e6 / 8 / dilation)] for rate in rates]
    return {f"pi{number}": {"reached": {}, "arrivals": each} for number, each in enumerate(arrivals, 1)}


@pytest.mark.parametrize("dilation", [1.0, 3.0])
def test_it_is_judged_as_a_whole_in_undilated_time(dilation: float) -> None:
    (found,) = shared_findings(answers(4.7, 4.8, 4.9, dilation=dilation), dilation)
    assert (found.node, found.level, found.remedy) == ("all", "ok", "")
    assert found.detail == (
        "the medium that the nodes share carries 14.4 Mbit/s from node to node while all 3 send (fair), "
        "4.7 to 4.9 from each (even); to add up 1 MB of gradients over all of them takes 2.2 s"
    )


@pytest.mark.parametrize(
    ("rates", "level", "words", "remedy"),
    [
        ((10.0, 10.0), "ok", "20.0 Mbit/s from node to node while all 2 send (good)", ""),
        ((2.4, 2.5), "warning", "(poor)", "or cables, if only for nodes with servers"),
        ((10.0, 7.0, 10.0), "ok", "(not quite even: pi2 has the least)", ""),
        ((10.0, 10.0, 4.9), "warning", "(uneven: pi3 has the least)", "look at the signal of pi3"),
        ((1.0, 1.0, 0.1), "warning", "(poor)", "look at the signal of pi3"),
    ],
)
def test_capacity_and_shares_are_graded(rates: tuple[float, ...], level: str, words: str, remedy: str) -> None:
    (found,) = shared_findings(answers(*rates))
    assert found.level == level
    assert words in found.detail
    assert remedy in found.remedy
    assert bool(found.remedy) is (level != "ok")


def test_nothing_is_said_of_a_medium_that_not_all_could_send_on() -> None:
    assert shared_findings(answers(5.0, None)) == []
    assert shared_findings({**answers(5.0, 5.0), "pi3": NodeError("pi3", "is gone")}) == []
    assert shared_findings(answers(5.0)) == []
    assert shared_findings({}) == []


def test_only_the_time_counts_when_all_were_sending() -> None:
    # A medium of 16 Mbit/s carries 2 MB a second: of two, then of three, while the third finds its pace, then of one.
    apart = {
        "pi1": {"arrivals": [(0.0, 0), (1.0, 1_000_000), (2.0, 1_600_000), (4.0, 2_800_000)]},
        "pi2": {"arrivals": [(0.0, 0), (1.0, 1_000_000), (2.0, 1_800_000), (4.0, 3_200_000), (5.0, 5_200_000)]},
        "pi3": {"arrivals": [(1.0, 0), (2.0, 400_000), (3.5, 1_450_000), (4.0, 1_800_000)]},
    }
    (found,) = shared_findings(apart)
    assert "carries 16.0 Mbit/s from node to node while all 3 send (fair), 4.8 to 5.6 from each (even)" in found.detail


def test_between_two_moments_bytes_came_evenly() -> None:
    rates = common_rates({"pi1": [(0.0, 100), (4.0, 500)], "pi2": [(1.0, 7), (1.5, 10), (2.5, 20), (3.0, 37)]})
    assert rates == {"pi1": 100.0, "pi2": 22.0}


def test_nodes_that_hardly_sent_together_tell_nothing() -> None:
    apart = {"pi1": {"arrivals": [(0.0, 0), (2.0, 5)]}, "pi2": {"arrivals": [(0.6, 0), (3.0, 5)]}}
    (found,) = shared_findings(apart)
    assert (found.node, found.level) == ("all", "warning")
    assert "did not send at the same time" in found.detail
    assert "harness check" in found.remedy
    (still,) = shared_findings({name: {"arrivals": [(0.0, 5), (2.0, 5)]} for name in ("pi1", "pi2")})
    assert still == found


@pytest.mark.parametrize(
    "arrivals", [[[1.0]], [[1.0, -1]], [[-0.1, 1]], [[0.0, 1], [0.5, 2]], [[0.5, 2], [0.0, 1]], [[0.5, 1.5]], {}, "x"]
)
def test_arrivals_that_are_none_are_refused(arrivals: Any) -> None:
    answer = {"reached": {}, "bytes_per_second": 1.0, "arrivals": arrivals}
    with pytest.raises(NodeError, match="what no agent does"):
        read_reached("pi1", answer)
    assert read_reached("pi1", {**answer, "arrivals": [[0.5, 1], [0.0, 2]]})["arrivals"]


def probed(number: int = 1, **radio: Any) -> Probed:
    radios = [{**WLAN, **radio}] if radio.get("interface", True) else []
    return Probed(Node(f"pi{number}", f"10.0.0.{number}", local=False, root="/nowhere"), {"wireless": radios}, 0.0)


def test_nodes_whose_address_is_a_radios_are_found() -> None:
    assert on_radio([probed(1), probed(2), probed(3, address="10.0.0.3"), probed(4, interface="")]) == ["pi1", "pi3"]
    assert (
        on_radio([Probed(Node("pi1", "10.0.0.1", local=False, root="/nowhere"), {}, 0.0)]) == []
    )  # an agent of before


def only(found: list[Finding]) -> Finding:
    (each,) = found
    return each


def test_a_radio_is_described_and_judged() -> None:
    good = only(radio_findings(probed(), "site"))
    assert (good.what, good.level) == ("wifi", "ok")
    assert good.detail == "wlan0: signal -52 dBm, sends at 65 Mbit/s, power saving is off"
    weak = only(radio_findings(probed(signal_dbm=-78.0), "site"))
    assert (weak.level, "which is weak" in weak.detail) == ("warning", True)
    assert "access point" in weak.remedy
    saving = only(radio_findings(probed(power_saving=True), "harness provision -i x site.yml"))
    assert (saving.level, saving.remedy) == ("warning", "harness provision -i x site.yml --tags network")
    unknown = only(radio_findings(probed(signal_dbm=None, bit_rate_mbit=None, power_saving=None), "site"))
    assert (unknown.level, unknown.detail) == (
        "ok",
        "wlan0: signal not known, bit rate not known, power saving not known",
    )
    assert radio_findings(probed(address="192.168.7.1"), "site") == []


@pytest.mark.parametrize("radio", [{"signal_dbm": "loud"}, {"interface": 3}, {"power_saving": "on"}, {"address": 1}])
def test_an_answer_about_radios_that_is_none_is_refused(radio: dict[str, Any]) -> None:
    with pytest.raises(NodeError, match="what no agent does"):
        read_probe("pi1", {"wireless": [{**WLAN, **radio}]})
    with pytest.raises(NodeError) as refused:
        read_probe("pi1", {"wireless": [WLAN]})
    assert "wireless" not in refused.value.message
