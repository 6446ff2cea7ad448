"""Node health and what ranks cost, as data."""

from __future__ import annotations

from datetime import datetime

import pytest
from launch_parts import exit_state, placement, trial

from harness.contract.columns import RANK_COLUMNS, TELEMETRY_COLUMNS, seconds_to_column
from harness.contract.events import Event
from harness.launch.launcher import End, Outcome
from harness.results.rows import (
    Row,
    TrialHistory,
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
    row = trial_row(placement(), Outcome("ok", WHEN, ends=ends), rows, TrialHistory(), False)
    assert (row["forward_seconds"], row["push_seconds"], row["packets_sent"]) == (4.0, None, 60)
    assert (row["worker_cpu_seconds"], row["server_cpu_seconds"]) == (7.0, 5.0)
    assert (row["schedulers"], row["servers"], row["workers"]) == (1, 1, 2)


def test_times_are_the_slowest_workers_and_accuracies_those_at_the_end() -> None:
    ranks = placement().with_role("worker")
    values = {
        (0, 1): {"train_seconds": 3.0, "images": 10, "validation_accuracy": 0.9},
        (1, 1): {"train_seconds": 4.0, "images": 10, "validation_accuracy": 0.8},
        (0, 2): {"train_seconds": 2.0, "images": 10, "validation_accuracy": 0.7},
        (1, 2): {"train_seconds": 1.0, "images": 10, "validation_accuracy": 0.5},
    }
    rows = [
        epoch_row(trial(), ranks[number], Event("epoch", {"rank": number, "epoch": epoch, **each}), WHEN)
        for (number, epoch), each in values.items()
    ]
    row = trial_row(placement(), Outcome("ok", WHEN), rows, TrialHistory(), False)
    assert (row["train_seconds"], row["images"]) == (6.0, 40)
    assert row["images_per_train_second"] == pytest.approx(40 / 6, abs=1e-4)
    assert (row["validation_accuracy"], row["best_validation_accuracy"]) == (pytest.approx(0.6), 0.9)


def test_a_continued_trial_has_the_times_of_all_its_starts() -> None:
    history = TrialHistory(attempts=2, continued_from_epoch=3, startup_seconds=2.0, total_seconds=30.0)
    outcome = Outcome("ok", WHEN, startup_seconds=2.5, total_seconds=12.0)
    row = trial_row(placement(), outcome, [], history, False)
    assert (row["attempts"], row["recovered"], row["continued_from_epoch"]) == (2, 0, 3)
    assert (row["startup_seconds"], row["total_seconds"]) == (4.5, 42.0)


def test_a_row_is_read_from_the_csv_with_its_numbers() -> None:
    values = {"rank": 0, "epoch": 1, "train_seconds": 0.1 + 0.2, "steps": 7}
    row = epoch_row(trial(), placement().ranks[0], Event("epoch", values), WHEN)
    cells: Row = {key: "" if cell is None else str(cell) for key, cell in row.items()}
    assert epoch_row_of(cells) == row


def accurate_rows(*accuracies: tuple[float, ...]) -> list[Row]:
    """Two workers' epochs of 3 and 4 s with a validation of 1 s; a tuple an epoch, an accuracy a worker."""
    ranks = placement().with_role("worker")
    return [
        epoch_row(
            trial(),
            ranks[rank],
            Event(
                "epoch",
                {"rank": rank, "epoch": epoch, "train_seconds": 3.0 + rank, "validation_seconds": 1.0}
                | {"validation_accuracy": accuracy},
            ),
            WHEN,
        )
        for epoch, each in enumerate(accuracies, start=1)
        for rank, accuracy in enumerate(each)
    ]


def test_a_trial_has_its_time_to_every_accuracy() -> None:
    rows = accurate_rows((0.91, 0.91), (0.96, 0.96), (0.94, 0.94), (0.985, 0.985))
    row = trial_row(placement(), Outcome("ok", WHEN), rows, TrialHistory(), False)
    times = [row[seconds_to_column(accuracy)] for accuracy in (0.9, 0.95, 0.97, 0.98, 0.985, 0.99)]
    assert times == [5.0, 10.0, 20.0, 20.0, 20.0, None]
    assert set(row) - {"validation_accuracy"} >= {"seconds_to_90", "seconds_to_98.5"}


def test_an_accuracy_is_the_median_workers() -> None:
    # Workers of the control have a model each.
    row = trial_row(placement(), Outcome("ok", WHEN), accurate_rows((0.89, 0.95), (0.80, 0.99)), TrialHistory(), False)
    assert row["seconds_to_90"] == 5.0
    assert row["seconds_to_95"] is None


@pytest.mark.parametrize(("behind", "status"), [(0.11, "ok"), (0.2, "suspect"), ("much", "ok"), (None, "ok")])
def test_a_rank_that_fell_behind_its_cpu_model_makes_the_trial_suspect(behind: object, status: str) -> None:
    ends = {"worker1": end(cpu_behind_seconds=behind, cpu_pressure=0.25, cpu_model="stretched"), "worker0": end()}
    outcome = Outcome("ok", WHEN, ends=ends)
    row = trial_row(placement(), outcome, accurate_rows((0.9, 0.9)), TrialHistory(), False)
    assert (row["status"], row["cpu_model"]) == (status, "stretched")
    if status == "suspect":
        # 0.2 of the slowest worker's 4 s.
        assert row["suspect_because"] == (
            "the machine was too busy: worker1 on b fell behind its CPU model by 5.0% of the training time"
        )
    else:
        assert row["suspect_because"] is None
    kept = next(each for each in rank_rows(placement(), outcome) if (each["role"], each["rank"]) == ("worker", 1))
    assert (kept["cpu_pressure"], kept["cpu_model"]) == (0.25, "stretched")
    assert kept["cpu_seconds_behind"] == (behind if isinstance(behind, float) else None)


def test_a_suspect_trial_says_why() -> None:
    reasons = ["a node was throttled while it ran", "worker0 printed an epoch twice; the first counts"]
    row = trial_row(placement(), Outcome("ok", WHEN), [], TrialHistory(), reasons)
    assert (row["status"], row["suspect_because"]) == ("suspect", "; ".join(reasons))


@pytest.mark.parametrize(("digests", "cell"), [(set(), None), ({"ab"}, "ab"), ({"ab", "cd"}, None)])
def test_what_was_trained_has_its_digest_where_all_ranks_agree(digests: set[str], cell: str | None) -> None:
    row = trial_row(placement(), Outcome("ok", WHEN), [], TrialHistory(), False, digests=digests)
    assert row["weights_sha256"] == cell
