"""Node health and what ranks cost, as data."""

from __future__ import annotations

from datetime import datetime

import pytest
from launch_parts import exit_state, placement, trial

from harness.columns import RANK_COLUMNS, TELEMETRY_COLUMNS
from harness.events import Event
from harness.launcher import End, Outcome
from harness.rows import (
    Course,
    Row,
    epoch_row,
    epoch_row_of,
    rank_rows,
    telemetry_row,
    throttled_during,
    trial_row,
)

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


def end(seconds: float = 12.0, **values: object) -> End:
    cost = {"cpu_seconds": 3.5, "max_rss_bytes": 1024, "context_switches": 7, "ran_seconds": 10.0}
    return End(exit_state(**{"code": 0, **cost, **values}), seconds)


def test_every_rank_has_a_row_with_what_it_cost() -> None:
    ends = {
        "scheduler0": end(reason="stopped", signal=15, code=None),
        "server0": end(cpu_seconds="much"),
        "worker1": end(),
    }
    scheduler, server, lost, worker = rank_rows(placement(), Outcome("failed", WHEN, ends=ends))
    assert tuple(worker) == RANK_COLUMNS
    assert worker["role"] == "worker"
    assert (worker["rank"], worker["node"], worker["reason"], worker["exit_code"]) == (1, "b", "exit", 0)
    assert (worker["started_seconds"], worker["ended_seconds"]) == (2.0, 12.0)
    assert (worker["cpu_seconds"], worker["max_rss_bytes"], worker["context_switches"]) == (3.5, 1024, 7)
    assert (scheduler["reason"], scheduler["exit_code"]) == ("stopped", -15)
    assert server["cpu_seconds"] is None
    assert "reason" not in lost


def test_a_trial_has_the_mean_workers_phases_and_the_roles_processor_time() -> None:
    ranks = placement().with_role("worker")
    rows = [
        epoch_row(trial(), ranks[number], Event("epoch", {"rank": number, "epoch": epoch, **values}), WHEN)
        for epoch in (1, 2)
        for number, values in enumerate(
            ({"forward_seconds": 1.0, "packets_sent": 10}, {"forward_seconds": 3.0, "packets_sent": 20})
        )
    ]
    ends = {"server0": end(cpu_seconds=5.0), "worker0": end(), "worker1": end()}
    row = trial_row(placement(), Outcome("ok", WHEN, ends=ends), rows, Course(), False)
    assert (row["forward_seconds"], row["push_seconds"], row["packets_sent"]) == (4.0, None, 60)
    assert (row["worker_cpu_seconds"], row["server_cpu_seconds"]) == (7.0, 5.0)


def test_a_continued_trial_has_the_times_of_all_its_starts() -> None:
    course = Course(attempts=2, continued_from_epoch=3, startup_seconds=2.0, total_seconds=30.0)
    outcome = Outcome("ok", WHEN, startup_seconds=2.5, total_seconds=12.0)
    row = trial_row(placement(), outcome, [], course, False)
    assert (row["attempts"], row["recovered"], row["continued_from_epoch"]) == (2, 0, 3)
    assert (row["startup_seconds"], row["total_seconds"]) == (4.5, 42.0)


def test_a_row_is_read_from_the_csv_with_its_numbers() -> None:
    values = {"rank": 0, "epoch": 1, "train_seconds": 0.1 + 0.2, "steps": 7}
    row = epoch_row(trial(), placement().ranks[0], Event("epoch", values), WHEN)
    cells: Row = {key: "" if cell is None else str(cell) for key, cell in row.items()}
    assert epoch_row_of(cells) == row
