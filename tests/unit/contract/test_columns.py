"""The table of columns: complete, in one place, and what the files and the reference page are made from."""

from __future__ import annotations

from harness.analysis.metrics import METRICS
from harness.contract import wire
from harness.contract.columns import (
    AGGREGATED,
    AGGREGATIONS,
    COLUMNS,
    EPOCH_COLUMNS,
    column,
    roles_in,
    trial_columns,
)
from harness.contract.headers import described
from harness.paths import REPOSITORY
from harness.report.reference import columns_page


def test_every_column_has_a_unit_and_a_sentence() -> None:
    for file, columns in COLUMNS.items():
        names = [each.name for each in columns]
        assert len(set(names)) == len(names), file
        for each in columns:
            assert each.unit
            assert each.meaning.endswith("."), each.name
            assert each.aggregation in AGGREGATIONS


def test_every_value_of_an_epoch_event_is_a_column() -> None:
    assert EPOCH_COLUMNS[-len(wire.EPOCH_KEYS) :] == wire.EPOCH_KEYS
    assert {each.source or each.name for each in AGGREGATED} <= set(wire.EPOCH_KEYS)


def test_trials_have_a_count_and_processor_time_of_every_role() -> None:
    header = trial_columns(["model", "servers", "seed"], ["scheduler", "server", "worker"])
    assert header[:10] == (
        "trial", "status", "nodes", "repeat", "variant", "schedulers", "servers", "workers", "model", "seed",
    )  # fmt: skip
    assert header.count("servers") == 1
    assert header[-4:] == ("scheduler_cpu_seconds", "server_cpu_seconds", "worker_cpu_seconds", "failure")
    assert roles_in(header) == ("scheduler", "server", "worker")
    assert not any("<" in name for name in header)


def test_a_program_of_one_role_has_no_other() -> None:
    assert "servers" not in trial_columns([], ["volunteer"])
    assert "volunteers" in trial_columns([], ["volunteer"])


def test_metrics_that_are_columns_are_the_same() -> None:
    assert METRICS["total_seconds"] is column("trials.csv", "total_seconds")


def test_the_reference_page_is_made_from_the_table() -> None:
    page = REPOSITORY / "docs" / "reference" / "columns.md"
    again = "python -m harness.report.reference > docs/reference/columns.md"
    assert page.read_text(encoding="utf-8") == columns_page(), f"make it again: {again}"


def test_a_header_says_what_each_of_its_columns_is() -> None:
    header = trial_columns(["model", "servers", "seed"], ["server", "worker"], [0.985])
    found = {each.name: each for each in described("trials.csv", header)}
    assert tuple(found) == header
    assert found["total_seconds"] is column("trials.csv", "total_seconds")
    assert (found["servers"].unit, found["worker_cpu_seconds"].unit) == ("count", "s")
    assert (found["seconds_to_98.5"].unit, found["model"].unit) == ("s", "its own")
    assert [each.name for each in described("epochs.csv", EPOCH_COLUMNS)] == list(EPOCH_COLUMNS)
    (other,) = described("epochs.csv", ["other"])
    assert (other.name, other.meaning) == ("other", "Not known to this version of the harness.")
