"""Node health as data."""

from __future__ import annotations

from datetime import datetime

import pytest
from launch_parts import trial

from harness.rows import TELEMETRY_COLUMNS, telemetry_row, throttled_during

WHEN = datetime.fromisoformat("2026-01-02T03:04:05+00:00")


@pytest.mark.parametrize(
    ("bits", "suspect"),
    [
        ("0x0", False),
        ("0x1", True),
        ("0x4", True),
        ("0x50000", False),
        ("0x50005", True),
        (None, False),
        ("what", False),
    ],
)
def test_throttling_now_makes_a_trial_suspect_throttling_before_does_not(bits: str | None, suspect: bool) -> None:
    assert throttled_during([{"throttled": "0x0"}, {"throttled": bits}]) is suspect


def test_a_sample_cannot_put_anything_else_into_the_table() -> None:
    row = telemetry_row(trial(), "a", {"load_1m": 0.5, "memory_used_bytes": [1], "trial": "other", "evil": 1}, WHEN)
    assert tuple(row) == TELEMETRY_COLUMNS
    assert (row["trial"], row["load_1m"], row["memory_used_bytes"]) == ("n02-r1", 0.5, None)
