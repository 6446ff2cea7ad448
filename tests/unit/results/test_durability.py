"""In which order a run directory reaches the disk, and what is done about a disk that takes less than it was given."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.launch.checkpoints import Checkpoint, Saved
from harness.results import disk
from harness.results.disk import ResultsError, Table, append, read_rows
from harness.results.run_directory import RunDirectory
from harness.results.run_paths import RunPaths

COLUMNS = ("trial", "epoch")


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was made sure to be on the disk, by name and in order; a renamed file with its new name, once it has it."""
    names: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recording_fsync(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def recording_replace(path: Path, target: Path) -> Path:
        names.append(f"{path.name} -> {target.name}")
        return replace(path, target)

    monkeypatch.setattr(disk.os, "fsync", recording_fsync)
    monkeypatch.setattr(Path, "replace", recording_replace)
    return names


def written(name: str, directory: str) -> list[str]:
    """A file that is replaced: its new content is on the disk before it takes the name, and then the name is."""
    temporary = f".{name}.{os.getpid()}.part"
    return [temporary, f"{temporary} -> {name}", directory]


def test_a_checkpoint_reaches_the_disk_as_rows_then_weights_then_its_record(tmp_path: Path, synced: list[str]) -> None:
    run = RunDirectory(RunPaths(tmp_path), [])
    run.begin("t")
    run.epoch({"trial": "t", "epoch": 1})
    synced.clear()
    run.keep("t", Saved(Checkpoint(1, {"": b"weights"}), {"epochs": 1}, 1.0, 2.0, None))
    assert synced == [
        "epochs.csv",
        "ranks.csv",
        "telemetry.csv",
        *written("epoch1.npz", "checkpoint"),
        *written("checkpoint.json", "checkpoint"),
    ]
    run.close()


def test_a_finished_trial_reaches_the_disk_as_rows_then_its_record_then_its_row(
    tmp_path: Path, synced: list[str]
) -> None:
    run = RunDirectory(RunPaths(tmp_path), [])
    run.begin("t")
    run.epoch({"trial": "t", "epoch": 1})
    synced.clear()
    run.finish("t", {"trial": "t", "status": "ok", "started_at": "2026-01-01T00:00:00Z"}, {})
    rows = ["epochs.csv", "ranks.csv", "telemetry.csv"]
    assert synced == [*rows, *written("trial.json", "t"), "trials.csv"]
    run.close()


def test_weights_that_cannot_be_written_make_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = RunPaths(tmp_path)
    run = RunDirectory(paths, [])
    run.begin("t")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(ResultsError, match="No space left"):
        run.keep("t", Saved(Checkpoint(1, {"": b"weights"}), {}, 1.0, 2.0, None))
    assert not paths.checkpoint_record("t").exists()
    run.close()


def writing_at_most(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write takes so many bytes at most, as a disk does that is nearly full."""
    real: Callable[..., Any] = Path.open

    def short(path: Path, *arguments: Any, **options: Any) -> Any:
        file = real(path, *arguments, **options)
        if options.get("buffering") == 0:
            write = file.write

            class Short:
                def __enter__(self) -> Any:
                    return self

                def __exit__(self, *_: object) -> None:
                    file.close()

                def write(self, data: bytes) -> int:
                    taken: int = write(data[:limit])
                    return taken

                def __getattr__(self, name: str) -> Any:
                    return getattr(file, name)

            return Short()
        return file

    monkeypatch.setattr(Path, "open", short)


def test_a_row_that_was_written_in_part_is_an_error_and_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(tmp_path / "epochs.csv", COLUMNS)
    table.rewrite([{"trial": "t", "epoch": 1}])
    with monkeypatch.context() as patch:
        writing_at_most(3, patch)
        with pytest.raises(ResultsError, match="No space left on device") as caught:
            table.append({"trial": "t", "epoch": 2})
        assert "--resume" in caught.value.remedy
    table.append({"trial": "t", "epoch": 3})
    assert [row["epoch"] for row in table.read()] == ["1", "3"]


def test_a_torn_last_row_is_none(tmp_path: Path) -> None:
    path = tmp_path / "epochs.csv"
    path.write_text("trial,epoch\nt,1\nt,23")  # epoch 2 and 23 look alike
    assert read_rows(path) == Table(path, COLUMNS).read() == [{"trial": "t", "epoch": "1"}]
    path.write_text("trial,epoch\nt,1\nt\n")
    assert read_rows(path) == [{"trial": "t", "epoch": "1"}]


def test_a_programs_words_make_one_line(tmp_path: Path) -> None:
    table = Table(tmp_path / "epochs.csv", COLUMNS)
    table.rewrite([])
    table.append({"trial": "it said:\n  no\r\n", "epoch": 1})
    assert (tmp_path / "epochs.csv").read_text(encoding="utf-8").splitlines()[1:] == ["it said: no,1"]
    table.append({"trial": "x" * 100_000, "epoch": 2})
    assert len(table.read()[1]["trial"]) == 10_000


def test_a_table_that_was_removed_while_it_was_written_is_named_and_not_begun_anew(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    run = RunDirectory(paths, [])
    for trial in ("a", "b"):
        run.begin(trial)
        run.epoch({"trial": trial, "epoch": 1})
        if trial == "a":
            run.finish("a", {"trial": "a", "status": "ok", "started_at": "2026-01-01T00:00:00Z"}, {})
    paths.epochs.unlink()
    with pytest.raises(ResultsError, match=r"epochs\.csv: it was removed while") as caught:
        run.epoch({"trial": "b", "epoch": 2})
    assert "--resume: trials whose rows are gone are run again" in caught.value.remedy
    assert not paths.epochs.exists()
    with pytest.raises(ResultsError, match=r"epochs\.csv"):
        run.finish("b", {"trial": "b", "status": "ok", "started_at": "2026-01-01T00:00:01Z"}, {})
    run.close()
    again = RunDirectory(paths, [])
    assert (again.finished(), again.repaired) == ({}, ["trial a: rows of it are missing, so it is run again"])
    again.close()


def test_appending_makes_a_log_but_no_table(tmp_path: Path) -> None:
    append(tmp_path / "worker0.log", b"x")
    with pytest.raises(ResultsError):
        append(tmp_path / "epochs.csv", b"x", create=False)
    assert [path.name for path in tmp_path.iterdir()] == ["worker0.log"]
