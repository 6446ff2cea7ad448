"""Parquet tables: the same cells as the CSV files, with types, units and the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from export_runs import exported, is_same, rows_of, write_whole_run

from harness.contract.columns import column
from harness.paths import REPOSITORY
from harness.results.run_paths import RunPaths

assert REPOSITORY is not None
PUBLISHED = RunPaths(REPOSITORY / "docs" / "results" / "virtual-11" / "scaling")
MOMENT = pa.timestamp("us", tz="UTC")


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return write_whole_run(tmp_path)


def tables(run: RunPaths, out: Path) -> dict[str, pa.Table]:
    done = exported(run.root, "parquet", "-o", out)
    assert done.exit_code == 0, done.output
    return {path.stem: pq.read_table(path) for path in out.glob("*.parquet")}


def assert_same(run: RunPaths, found: dict[str, pa.Table]) -> None:
    assert set(found) == {path.stem for path in run.root.glob("*.csv")}
    for name, table in found.items():
        rows = rows_of(run.root / f"{name}.csv")
        assert table.column_names == list(rows[0])
        assert table.num_rows == len(rows)
        for row, read in zip(rows, table.to_pylist(), strict=True):
            assert [key for key, cell in row.items() if not is_same(cell, read[key])] == [], (name, row)


def test_every_cell_is_that_of_the_csv_file(run: RunPaths, tmp_path: Path) -> None:
    assert_same(run, tables(run, tmp_path / "out"))


def test_a_published_run_is_exported_with_its_types(tmp_path: Path) -> None:
    found = tables(PUBLISHED, tmp_path / "out")
    assert_same(PUBLISHED, found)
    types = {name: {field.name: field.type for field in table.schema} for name, table in found.items()}
    trials = types["trials"]
    assert (trials["nodes"], trials["batch_size"], trials["limit"]) == (pa.int64(),) * 3
    assert (trials["learning_rate"], trials["total_seconds"], trials["seconds_to_98"]) == (pa.float64(),) * 3
    assert (trials["nesterov"], trials["kvstore"], trials["started_at"]) == (pa.bool_(), pa.string(), MOMENT)
    assert (trials["failure"], trials["worker_cpu_seconds"]) == (pa.string(), pa.float64())
    assert (types["epochs"]["validation_seconds"], types["epochs"]["bytes_sent"]) == (pa.float64(), pa.int64())
    assert types["ranks"]["exit_code"] == pa.int64()


def test_columns_carry_unit_and_meaning_and_files_the_manifest(run: RunPaths, tmp_path: Path) -> None:
    schema = tables(run, tmp_path / "out")["trials"].schema
    about = {
        name: {key.decode(): text.decode() for key, text in schema.field(name).metadata.items()}
        for name in schema.names
    }
    total = column("trials.csv", "total_seconds")
    assert about["total_seconds"] == {"unit": "s", "meaning": total.meaning, "over_workers": "none"}
    assert about["images"]["over_workers"] == "sum"
    assert about["batch_size"]["meaning"] == "Images of one step on one worker."
    assert about["batch_size"]["unit"] == "its own"
    assert about["workers"]["unit"] == "count"
    manifest = json.loads(run.manifest.read_text(encoding="utf-8"))
    assert json.loads(schema.metadata[b"harness.manifest"]) == manifest
    assert schema.metadata[b"harness.run"] == b"example/" + run.root.name.encode()


def test_pandas_reads_them_too(run: RunPaths, tmp_path: Path) -> None:
    tables(run, tmp_path / "out")
    frame = pd.read_parquet(tmp_path / "out" / "trials.parquet")
    assert list(frame["total_seconds"]) == list(pd.read_csv(run.trials)["total_seconds"])


def test_types_do_not_depend_on_the_values(run: RunPaths, tmp_path: Path) -> None:
    before = tables(run, tmp_path / "before")["epochs"].schema
    rows = pd.read_csv(run.epochs).assign(train_seconds=3, steps=None)
    rows.to_csv(run.epochs, index=False)
    assert tables(run, tmp_path / "after")["epochs"].schema.types == before.types


def test_what_has_no_place_in_a_type_is_text(run: RunPaths, tmp_path: Path) -> None:
    rows = pd.read_csv(run.trials)
    rows.assign(batch_size=["10", "many", ""], started_at="long ago", other=["1", "2.5", ""]).to_csv(
        run.trials, index=False
    )
    table = tables(run, tmp_path / "out")["trials"]
    assert table["batch_size"].to_pylist() == ["10", "many", None]
    assert table["started_at"].to_pylist() == ["long ago"] * 3
    assert table["other"].to_pylist() == [1.0, 2.5, None]


def test_whole_numbers_with_fractions_and_beyond_64_bits_are_numbers(run: RunPaths, tmp_path: Path) -> None:
    rows = pd.read_csv(run.trials).assign(images=["800.5", "1", ""], bytes_sent=["1e30", "1", ""])
    times = ["2031-01-01T00:00:00.000Z", "long ago", ""]
    rows.assign(started_at=times).to_csv(run.trials, index=False)
    table = tables(run, tmp_path / "out")["trials"]
    assert table["images"].to_pylist() == [800.5, 1.0, None]
    assert table["bytes_sent"].to_pylist() == [1e30, 1.0, None]
    assert table["started_at"].to_pylist() == ["2031-01-01T00:00:00.000Z", "long ago", None]


def test_rates_are_a_table_too(run: RunPaths, tmp_path: Path) -> None:
    run.rates.write_text(
        "# steps: 5\n# program: train.py\nnode,address,images_per_second\npi1,10.0.0.1,70.5\n", encoding="utf-8"
    )
    assert tables(run, tmp_path / "out")["rates"].to_pylist() == [
        {"node": "pi1", "address": "10.0.0.1", "images_per_second": 70.5}
    ]
