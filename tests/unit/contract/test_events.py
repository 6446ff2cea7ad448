"""Lines of output that are events, and lines that are not."""

from __future__ import annotations

import pytest

from harness.contract.events import Event, LineSplitter, parse_line


def test_an_event_is_a_line_of_json_with_what_its_kind_needs() -> None:
    line = '{"event": "progress", "rank": 0, "epoch": 1, "step": 2, "steps": 9, "more": [1]}'
    assert parse_line(line) == Event("progress", {"rank": 0, "epoch": 1, "step": 2, "steps": 9, "more": [1]})
    assert parse_line('{"event": "of a user\'s own", "loss": null}') == Event("of a user's own", {"loss": None})


@pytest.mark.parametrize(
    "line",
    [
        "epoch 1",
        '{"event": "epoch", "rank": 0, "epo',
        '{"event": 3}',
        '{"event": "epoch", "rank": 0, "epoch": 1}',
        '{"event": "epoch", "rank": 0, "epoch": 1, "train_seconds": NaN}',
        '{"event": "epoch", "rank": 0, "epoch": 1, "train_seconds": ' + "9" * 400 + "}",
        '{"event": "epoch", "rank": ' + "9" * 5000 + "}",
        '{"event": "deep", "values": ' + "[" * 100_000 + "}",
    ],
)
def test_anything_else_is_log(line: str) -> None:
    assert parse_line(line) is None


@pytest.mark.parametrize(("value", "number"), [("1" + "0" * 400, None), ("1e400", None), ("true", None), ("7", 7)])
def test_what_cannot_be_computed_with_is_no_number(value: str, number: int | None) -> None:
    event = parse_line('{"event": "ready", "rank": 0, "parameters": ' + value + "}")
    assert event is not None
    assert event.number("parameters") == number


def test_lines_come_out_whole_however_they_went_in() -> None:
    splitter = LineSplitter()
    assert [line for byte in b"one\r\ntwo\nth" for line in splitter.feed(bytes([byte]))] == ["one", "two"]
    assert (splitter.flush(), splitter.flush()) == (["th"], [])
    assert splitter.feed(b"x" * (LineSplitter.LIMIT + 1)) == ["x" * (LineSplitter.LIMIT + 1)]
