"""TensorBoard logs, read record by record: the numbers of epochs.csv and trials.csv, at their steps and times."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from export_runs import exported, rows_of, write_whole_run
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
from tensorboardX.record_writer import masked_crc32c

from harness.results.run_paths import RunPaths


@dataclass(frozen=True)
class Logs:
    run: RunPaths
    out: Path


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    directory = tmp_path_factory.mktemp("tensorboard")
    run, out = write_whole_run(directory), directory / "logs"
    done = exported(run.root, "tensorboard", "-o", out)
    assert done.exit_code == 0, done.output
    return Logs(run, out)


def events(log: Path) -> Iterator[Any]:
    """The events of a log directory, every record checked."""
    (file,) = log.iterdir()
    assert ".tfevents." in file.name
    data = file.read_bytes()
    while data:
        length, head_sum = struct.unpack_from("<QI", data)
        record, (record_sum,) = data[12 : 12 + length], struct.unpack_from("<I", data, 12 + length)
        assert (head_sum, record_sum) == (masked_crc32c(data[:8]), masked_crc32c(record))
        yield Event.FromString(record)
        data = data[16 + length :]


def scalars(log: Path) -> dict[str, list[tuple[int, float, float]]]:
    """By tag its steps, times and values."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for event in events(log):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.setdefault(value.tag, []).append((event.step, event.wall_time, value.simple_value))
    return found


def test_every_trial_has_a_log(logs: Logs) -> None:
    assert {path.name for path in logs.out.iterdir() if path.is_dir()} == {"n01-r1", "n02-r1", "n02-r2"}


def test_every_worker_s_values_are_those_of_the_csv_file(logs: Logs) -> None:
    found = scalars(logs.out / "n02-r1")
    rows = [row for row in rows_of(logs.run.epochs) if row["trial"] == "n02-r1"]
    for name in ("train_seconds", "wait_seconds", "images", "validation_accuracy"):
        for rank in ("0", "1"):
            said = [
                (int(row["epoch"]), datetime.fromisoformat(row["time"]).timestamp(), float(row[name]))
                for row in rows
                if row["rank"] == rank
            ]
            read = found[f"{name}/rank{rank}"]
            assert [each[:2] for each in read] == [each[:2] for each in said]
            assert [each[2] for each in read] == pytest.approx([each[2] for each in said], rel=1e-6)


def test_values_over_workers_are_formed_as_in_trials_csv(logs: Logs) -> None:
    found = scalars(logs.out / "n02-r1")
    rows = [row for row in rows_of(logs.run.epochs) if row["trial"] == "n02-r1" and row["epoch"] == "1"]
    values = {name: [float(row[name]) for row in rows] for name in ("train_seconds", "wait_seconds", "images")}
    assert found["epoch/train_seconds"][0][2] == pytest.approx(max(values["train_seconds"]), rel=1e-6)
    assert found["epoch/wait_seconds"][0][2] == pytest.approx(fmean(values["wait_seconds"]), rel=1e-6)
    assert found["epoch/images"][0][2] == pytest.approx(sum(values["images"]), rel=1e-6)
    times = {epoch: {row["time"] for row in rows_of(logs.run.epochs) if row["epoch"] == epoch} for epoch in "12"}
    assert [(step, {moment}) for step, moment, _ in found["epoch/train_seconds"]] == [
        (int(epoch), {datetime.fromisoformat(max(each)).timestamp()}) for epoch, each in times.items()
    ]
    alone = scalars(logs.out / "n01-r1")
    assert not [tag for tag in alone if "/rank" in tag]
    assert alone["epoch/train_seconds"][0][2] == pytest.approx(40)


def test_a_trial_s_numbers_and_settings_are_there(logs: Logs) -> None:
    rows = {row["trial"]: row for row in rows_of(logs.run.trials)}
    for trial, row in rows.items():
        found = scalars(logs.out / trial)
        ((step, _, value),) = found["trial/total_seconds"]
        assert (step, value) == (0, pytest.approx(float(row["total_seconds"]), rel=1e-6))
    plugins = [
        HParamsPluginData.FromString(value.metadata.plugin_data.content)
        for event in events(logs.out / "n02-r1")
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "hparams"
    ]
    (started,) = [each.session_start_info for each in plugins if each.HasField("session_start_info")]
    assert started.hparams["batch_size"].number_value == 10
    assert started.hparams["kvstore"].string_value == "dist_sync"
    assert started.hparams["nodes"].number_value == 2


def test_the_first_value_of_a_tag_says_its_unit(logs: Logs) -> None:
    about: dict[str, list[str]] = {}
    for event in events(logs.out / "n01-r1"):
        for value in event.summary.value:
            about.setdefault(value.tag, []).append(value.metadata.summary_description)
    assert about["epoch/train_seconds"] == ["s: Training, without validation.", ""]
