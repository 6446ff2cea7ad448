"""The text of `--link`, and the lines and rules that make a medium of it."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from harness.errors import BadInputError
from harness.virtual.blueprint import Blueprint, ClusterRequest, Options, designed
from harness.virtual.host import medium
from harness.virtual.host.names import nodes_of
from harness.virtual.inventory import inventory_text
from harness.virtual.link import Link, nearest, read_link
from harness.virtual.state import places_of


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("100mbit", Link(10**8)),
        ("1Gbit", Link(10**9)),
        ("wifi", Link(30 * 10**6, shared=True)),
        ("WiFi:54mbit", Link(54 * 10**6, shared=True)),
        ("wifi:loss=0.5%", Link(30 * 10**6, shared=True, loss=0.005)),
        ("wifi:30mbit,loss=1%,latency=3ms", Link(30 * 10**6, shared=True, loss=0.01, latency=0.003)),
        ("wifi:latency=0.01s,jitter=500us", Link(30 * 10**6, shared=True, latency=0.01, jitter=0.0005)),
    ],
)
def test_links_are_read_and_written(text: str, link: Link) -> None:
    assert read_link(text) == link
    assert read_link(link.text) == link


@pytest.mark.parametrize(
    ("text", "says", "near"),
    [
        ("fast", "'fast' is no link rate", "100mbit"),
        ("100", "no link rate", "100mbit"),
        ("-1mbit", "no link rate", "1mbit"),
        ("54mbits", "no link rate", "54mbit"),
        ("1000gbit", "not between", "100mbit"),
        ("2gb", "no link rate", "2000mbit"),
        ("100mbit,loss=1%", "no link rate", "wifi:100mbit,loss=1%"),
        ("wlan", "no link rate", "wifi:30mbit"),
        ("wi-fi:20mbit", "no link rate", "wifi:20mbit"),
        ("wifi30mbit", "no link rate", "wifi:30mbit"),
        ("wifi:", "no link rate", "wifi:30mbit"),
        ("wifi:30mbit,los=1%", "a link has no 'los'", "wifi:30mbit,loss=1%"),
        ("wifi:30mbit,loss=1", "loss '1' is no share in per cent", "wifi:30mbit,loss=1%"),
        ("wifi:20mbit,loss=70%", "loss 70% is more than 50%", "wifi:20mbit"),
        ("wifi:latency=3", "latency '3' is no time in ms", "wifi:30mbit,latency=3ms"),
        ("wifi:latency=3 ms, jitter = 1ms", "", "wifi:30mbit,latency=3ms,jitter=1ms"),
        ("wifi:latency=2s", "latency 2s is more than 1s", "wifi:30mbit"),
        ("wifi:latency=1ms,jitter=3ms", "jitter is more than its latency", "wifi:30mbit,latency=3ms,jitter=3ms"),
        ("wifi:30mbit,20mbit", "more than one rate", "wifi:30mbit"),
        ("wifi:delay=3ms", "a link has no 'delay'", "wifi:30mbit,latency=3ms"),
    ],
)
def test_a_text_that_is_no_link_is_refused_with_the_nearest_that_is_one(text: str, says: str, near: str) -> None:
    with pytest.raises(BadInputError) as refused:
        Blueprint.of(Options("pi", link=text))
    assert refused.value.exit_code == 2
    assert f"--link {text}: " in refused.value.message
    assert says in refused.value.message
    assert refused.value.remedy == f"write --link {near}"


@given(st.text(alphabet="wif:=,.%1250lostjitrnaeycmgbu -", max_size=40))
@example("wifi:loss=0%,loss=1%")
@example("wifi:jitter=1s,latency=1s")
@example("wifi:1.0000001mbit")
def test_the_nearest_text_can_always_be_read(text: str) -> None:
    read_link(nearest(text))


def test_dilation_slows_rate_and_delays() -> None:
    link = read_link("wifi:30mbit,loss=1%,latency=3ms,jitter=1ms")
    assert link.slowed(2) == Link(15 * 10**6, shared=True, loss=0.01, latency=0.006, jitter=0.002)
    dilated = Blueprint.of(Options("pi", link="wifi", dilation=2.5))
    assert (dilated.rate, dilated.mark("wifi")) == (30 * 10**6, "wifi/2.5")


def test_a_cluster_takes_a_medium_and_a_cable_again() -> None:
    shared = designed("pi", ClusterRequest(link="wifi"), Options("pi"))
    assert shared.link.shared
    assert not designed("pi", ClusterRequest(link="100mbit"), shared.options).link.shared


def test_the_inventory_says_that_the_medium_is_shared() -> None:
    places, nodes = places_of("pi"), nodes_of("pi", 2, "10.77.0.0/24")
    for shared in (True, False):
        text = inventory_text("pi", nodes, places.key, places.known_hosts, places.ssh_masters, shares_medium=shared)
        variables = yaml.safe_load(text)["all"]["children"]["nodes"]["vars"]
        assert variables.get("cluster_link") == ("wifi" if shared else None)


def test_every_station_has_the_same_of_half_the_medium_and_may_take_what_is_left() -> None:
    lines = medium.queue_commands(read_link("wifi:24mbit"), [1, 2, 3])
    sure = {}
    for line in lines:
        words = line.split()
        if words[0] == "class":
            sure[words[words.index("classid") + 1]] = (words[words.index("parent") + 1], words[words.index("rate") + 1])
            assert words[words.index("ceil") + 1] == "24000000bit"
    assert sure["1:1"] == ("1:", "24000000bit")
    assert sure["1:2"] == sure["1:3"] == ("1:1", "12000000bit")
    assert [sure[f"1:10{n}"] for n in (1, 2, 3)] == [("1:2", "4000000bit")] * 3
    assert [sure[f"1:{base}0{n}"] for base in (2, 3) for n in (1, 2, 3)] == [("1:3", "2000000bit")] * 6
    assert "qdisc add dev air parent 1:101 pfifo_fast" in lines
    assert not any("netem" in line for line in lines)


def test_a_frame_is_delayed_once_on_its_way() -> None:
    lines = medium.queue_commands(read_link("wifi:latency=3ms,jitter=1ms").slowed(2), [11])
    queues = {
        line.split()[5]: line.split(maxsplit=6)[6] for line in lines if line.startswith("qdisc add dev air parent")
    }
    delay = "netem limit 1000 delay 6000us 2000us"
    assert queues == {"1:10b": delay, "1:20b": "bfifo limit 640000", "1:30b": delay}


def test_frames_are_led_over_the_air_once_a_way_and_lost_on_the_first() -> None:
    text = medium.rules([("node01", 1)], loss=0.01)
    assert 'hook ingress device "node01"' in text
    assert 'meta mark set 0xa1 meta priority set 1:101 fwd to "air"' in text
    assert "meta mark { 0xa2, 0xa3 } accept" in text
    assert 'meta mark 0xa1 meta mark set 0xa2 meta priority set 1:201 fwd to "air"' in text
    assert 'meta mark set 0xa3 meta priority set 1:301 fwd to "air"' in text
    assert "meta mark { 0xa1, 0xa3 } numgen random mod 1000000 < 10000 drop" in text
    assert "numgen" not in medium.rules([("node01", 1)], loss=0.0)


def test_a_cable_needs_nothing_of_the_kernel() -> None:
    medium.require(read_link("100mbit"))
