"""Times of a cluster that was slowed down."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

from harness.contract.events import Event
from harness.contract.json_line import parse_json_line
from harness.launch.launcher import End, Outcome
from harness.results.dilation import undilated_event, undilated_outcome, undilated_sample


def test_seconds_that_passed_are_divided_and_nothing_else() -> None:
    values = {
        "rank": 1,
        "train_seconds": 30.0,
        "cpu_seconds": 2.0,
        "bytes_sent": 9,
        "validation_seconds": None,
        "steps": 6,
    }
    told = undilated_event(Event("epoch", values), 3.0).values
    assert told == {**values, "train_seconds": 10.0}


def test_a_share_of_a_core_is_multiplied() -> None:
    assert undilated_sample({"cpu_percent": 5.0, "load_1m": 1.5}, 3.0) == {"cpu_percent": 15.0, "load_1m": 1.5}


def test_a_number_too_large_for_a_float_is_infinite() -> None:
    line = json.dumps({"ran_seconds": 10**400, "cpu_percent": 10**308})
    told = undilated_sample(parse_json_line(line), 3.0)
    assert told == {"ran_seconds": math.inf, "cpu_percent": math.inf}


def test_real_time_is_left_as_it_is() -> None:
    event, sample = Event("epoch", {"train_seconds": 30.0}), {"cpu_percent": 5.0}
    assert undilated_event(event, 1.0) is event
    assert undilated_sample(sample, 1.0) is sample


def test_an_outcome_is_as_long_as_it_would_have_been() -> None:
    ends = {"worker0": End({"reason": "exit", "ran_seconds": 30.0, "cpu_seconds": 2.0}, 45.0)}
    told = Outcome("ok", datetime.now(UTC), startup_seconds=6.0, total_seconds=60.0, ends=ends)
    outcome = undilated_outcome(told, 3.0)
    assert outcome.ends == {"worker0": End({"reason": "exit", "ran_seconds": 10.0, "cpu_seconds": 2.0}, 15.0)}
    assert (outcome.startup_seconds, outcome.total_seconds) == (2.0, 20.0)
    assert undilated_outcome(Outcome("failed", datetime.now(UTC)), 3.0).startup_seconds is None
