"""Addresses of meters, and real requests to a simulated plug that answers well, badly, slowly or never."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_values import EXAMPLES
from plugs import Mood
from plugs import Plug as SimulatedPlug

from harness.contract.json_line import parse_json
from harness.energy.address import Fixed, OwnFile, Plug, read_address
from harness.energy.devices import MeterError, watts_in
from harness.energy.digest import digest_answer
from harness.energy.request import LIMIT_SECONDS, ask
from harness.errors import BadInputError

HERE = Path("/inventory")
PASSWORD = "hunter2/@:%"  # noqa: S105 - of nothing
QUOTED = "hunter2%2F%40%3A%25"


@pytest.fixture(scope="module")
def plug() -> Iterator[SimulatedPlug]:
    with SimulatedPlug(3.5) as made:
        yield made


@pytest.fixture(scope="module")
def locked() -> Iterator[SimulatedPlug]:
    with SimulatedPlug(3.5, password=PASSWORD) as made:
        yield made


def meter(address: str) -> Plug:
    found = read_address("pi01", address, HERE)
    assert isinstance(found, Plug)
    return found


def test_addresses_say_kind_place_channel_and_what_is_declared() -> None:
    assert meter("shelly1://10.0.0.7") == Plug("shelly1", "10.0.0.7", user="admin")
    assert meter("shelly2://plug.local:8080/1?idle=1.4") == Plug(
        "shelly2", "plug.local", 8080, 1, user="admin", idle_watts=1.4
    )
    assert read_address("a", "csv:power.csv", HERE) == OwnFile(HERE / "power.csv")
    assert read_address("a", "csv:/x/power.csv?idle=2", HERE) == OwnFile(Path("/x/power.csv"), 2.0)
    assert read_address("a", "watts:6.4?idle=2.7", HERE) == Fixed(6.4, "declared", "", 2.7)


def test_user_and_password_are_not_shown() -> None:
    found = meter(f"shelly2://me:{QUOTED}@10.0.0.7/1")
    assert (found.user, found.password, found.shown) == ("me", PASSWORD, "shelly2://10.0.0.7/1")
    assert "hunter" not in repr(found)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://10.0.0.7/meter/0", "of no kind that is known"),
        ("shelly://10.0.0.7", "of no kind that is known"),
        ("10.0.0.7", "of no kind that is known"),
        ("shelly2:///0", "no name or IPv4 address"),
        ("shelly2://[::1]/0", "no name or IPv4 address"),
        ("shelly2://10.0.0.7:0/0", "no name or IPv4 address"),
        ("shelly2://10.0.0.7:99999/0", "cannot be read"),
        ("shelly2://10.0.0.7/first", "number of its channel"),
        ("shelly2://10.0.0.7/0?idle=x", "watts are a number"),
        ("shelly2://10.0.0.7/0?power=3", "only idle=WATTS"),
        ("shelly2://10.0.0.7/0#1", "only idle=WATTS"),
        ("watts:-1", "watts are a number"),
        ("watts:nan", "watts are a number"),
        ("csv:", "of no kind that is known"),
        ("csv:~nobody-here/power.csv", "cannot be read"),
        ("shelly2://me:hunter2/x@10.0.0.7", "cannot be read"),
    ],
)
def test_what_is_no_address_is_refused_and_not_shown(address: str, says: str) -> None:
    with pytest.raises(BadInputError, match=says) as caught:
        read_address("pi01", address, HERE)
    assert "pi01" in caught.value.message
    assert "hunter" not in f"{caught.value.message}{caught.value.remedy}"
    assert "tasmota://" in caught.value.remedy


@settings(max_examples=EXAMPLES)
@given(text=st.text(max_size=40) | st.from_regex(r"(shelly2|csv|watts|tasmota):(//)?[a-z:@/?#\[\].%0-9=]{0,20}"))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        read_address("pi01", text, HERE)
    except BadInputError:
        return


def test_each_kind_of_plug_is_asked_as_its_maker_says(plug: SimulatedPlug) -> None:
    plug.mood = "well"
    plug.asked.clear()
    assert ask(meter(plug.address("shelly1"))) == 3.5
    assert ask(meter(plug.address("shelly1", "/1"))) == 7.0
    assert ask(meter(plug.address("shelly2", ""))) == 3.5
    assert ask(meter(plug.address("shelly2", "/1"))) == 7.0
    assert ask(meter(plug.address("tasmota"))) == 3.5
    assert plug.asked == [
        "/meter/0", "/meter/1", "/rpc/Switch.GetStatus?id=0", "/rpc/Switch.GetStatus?id=1", "/cm?cmnd=Status%2010",
    ]  # fmt: skip


def test_a_tasmota_plug_of_several_channels_has_a_list() -> None:
    said = {"StatusSNS": {"ENERGY": {"Power": [1, 2.5]}}}
    assert watts_in(meter("tasmota://h/1"), said) == 2.5
    with pytest.raises(MeterError, match="no watts"):
        watts_in(meter("tasmota://h/2"), said)


@pytest.mark.parametrize("kind", ["shelly1", "shelly2", "tasmota"])
def test_a_plug_lets_in_who_has_its_password(locked: SimulatedPlug, kind: str) -> None:
    assert ask(meter(locked.address(kind, login=f"admin:{QUOTED}@"))) == 3.5
    assert ask(meter(locked.address(kind, login=f":{QUOTED}@"))) == 3.5
    for login in ("", "admin:wrong@", f"other:{QUOTED}@"):
        with pytest.raises(MeterError, match="another user or password") as caught:
            ask(meter(locked.address(kind, login=login)))
        assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    ("mood", "says"),
    [
        ("garbage", "cannot be read"),
        ("huge", "longer than 64 KiB"),
        ("elsewhere", "status 302"),
        ("broken", "status 500"),
        ("no HTTP", "no HTTP"),
        ("invalid", "no watts|not valid"),
    ],
)
@pytest.mark.parametrize("kind", ["shelly1", "shelly2", "tasmota"])
def test_a_bad_answer_is_no_sample(plug: SimulatedPlug, kind: str, mood: Mood, says: str) -> None:
    plug.mood = mood
    plug.asked.clear()
    with pytest.raises(MeterError, match=says):
        ask(meter(plug.address(kind)))
    assert len(plug.asked) == 1  # and nothing else was asked for


@pytest.mark.parametrize("mood", ["silent", "dripping"])
def test_no_request_takes_longer_than_its_limit(plug: SimulatedPlug, mood: Mood) -> None:
    plug.mood = mood
    began = time.monotonic()
    with pytest.raises(MeterError, match="no answer within"):
        ask(meter(plug.address("shelly2")), 0.3)
    assert time.monotonic() - began < 1
    assert LIMIT_SECONDS <= 3


def test_a_plug_that_is_not_there_is_no_sample() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(MeterError, match="refused"):
        ask(meter(f"shelly1://127.0.0.1:{port}"))


@settings(max_examples=EXAMPLES)
@given(text=st.binary(max_size=60))
def test_any_answer_is_read_or_refused(text: bytes) -> None:
    try:
        answer = parse_json(text)
    except ValueError:
        return
    for kind in ("shelly1", "shelly2", "tasmota"):
        try:
            assert watts_in(meter(f"{kind}://h"), answer) >= 0
        except MeterError:
            continue


@pytest.mark.parametrize(
    "answer",
    [
        {"apower": True},
        {"apower": "3"},
        {"apower": -5},
        {"apower": 1e9},
        {"apower": float("inf")},
        {"apower": None},
        [],
        3,
        None,
    ],
)
def test_what_is_no_number_of_watts_is_refused(answer: object) -> None:
    with pytest.raises(MeterError):
        watts_in(meter("shelly2://h"), answer)


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "Basic realm=x",
        'Digest nonce="x"',
        'Digest qop="auth", algorithm=MD5, nonce="x"',
        "Digest realm=",
        "Digest ,=,",
    ],
)
def test_another_way_to_ask_for_a_password_is_refused(challenge: str) -> None:
    with pytest.raises(MeterError, match="not known"):
        digest_answer(challenge, "admin", "x", "/", "y")
