"""A run directory survives a harness that is killed at any byte."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_values import examples

from harness.errors import BadInputError
from harness.launch.checkpoints import Checkpoint, Saved
from harness.results import disk, run_directory
from harness.results.disk import ResultsError
from harness.results.opening import open_run
from harness.results.run_directory import RunDirectory
from harness.results.run_paths import RunPaths

TRIALS = ("n01-r1", "n02-r1", "n03-r1")
EPOCHS = 3
WITHOUT = "n02-r1"  # has no checkpoints
STATUS = {"n01-r1": "ok", "n02-r1": "ok", "n03-r1": "failed"}
FILES = (
    "trials.csv",
    "epochs.csv",
    "ranks.csv",
    "telemetry.csv",
    *(f"trials/{trial}/trial.json" for trial in TRIALS),
    "trials/n03-r1/checkpoint/checkpoint.json",
    "trials/n03-r1/checkpoint/epoch2.npz",
)


class KilledError(BaseException):
    """The harness was killed: nothing of it runs any more."""


def work(paths: RunPaths, go_on: bool = True) -> None:
    """A sweep, or the rest of one: what `harness sweep --resume --continue` does with the store."""
    run = RunDirectory(paths, ["batch_size"])
    try:
        done = run.finished()
        for number, trial in enumerate(TRIALS, 1):
            if trial in done:
                continue
            begun = run.begin(trial, go_on=go_on)
            for epoch in range(begun.saved.checkpoint.epoch + 1 if begun.saved else 1, EPOCHS + 1):
                run.epoch(
                    {"trial": trial, "nodes": number, "epoch": epoch, "train_seconds": 0.1 * epoch, "node": 'a, "b"'}
                )
                run.telemetry({"trial": trial, "node": "node01", "load_1m": epoch})
                run.log(trial, "worker0", b"x")
                if epoch < EPOCHS and trial != WITHOUT:
                    rows = {"epochs": epoch, "telemetry": epoch}
                    run.keep(trial, Saved(Checkpoint(epoch, {"": b"weights %d" % epoch}), rows, 1.0, 2.0, None))
            run.rank({"trial": trial, "nodes": number, "role": "worker", "rank": 0, "cpu_seconds": 1.5})
            row = {
                "trial": trial,
                "status": STATUS[trial],
                "started_at": f"2026-01-01T00:00:0{number}Z",
                "batch_size": 64,
            }
            run.finish(trial, {**row, "failure": None}, {})
    finally:
        run.close()


def contents(paths: RunPaths) -> dict[str, list[str]]:
    """The lines of all CSVs; a trial that ran again has its rows where it ran, so their order is not compared."""
    return {path.name: sorted(path.read_text(encoding="utf-8").splitlines(keepends=True)) for path in paths_of(paths)}


def paths_of(paths: RunPaths) -> tuple[Path, ...]:
    return paths.trials, paths.epochs, paths.ranks, paths.telemetry


@pytest.fixture(autouse=True, scope="module")
def fast_disk() -> Iterator[None]:
    """What is tested here is not the disk's speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk.os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    paths = RunPaths(tmp_path_factory.mktemp("whole"))
    work(paths)
    return paths


def test_every_trial_is_there_once(whole: RunPaths) -> None:
    rows = list(csv.DictReader(whole.trials.read_text().splitlines()))
    assert [row["trial"] for row in rows] == list(TRIALS)
    assert len(whole.epochs.read_text().splitlines()) == 1 + len(TRIALS) * EPOCHS
    assert [trial for trial in TRIALS if whole.checkpoint(trial).exists()] == ["n03-r1"]  # the failed one


def telling_cuts(data: bytes, marks: bytes) -> list[int]:
    """Places to cut: all that are next to one of these characters, and every 11th of the others.

    A prime: over the lines it falls on every part of one.
    """
    near = {place + beside for place, byte in enumerate(data) if byte in marks for beside in (-1, 0, 1, 2)}
    return sorted(cut for cut in {*near, *range(0, len(data), 11)} if 0 <= cut < len(data))


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_is_made_whole_by_a_resumed_run(name: str, whole: RunPaths, tmp_path: Path) -> None:
    data = (whole.root / name).read_bytes()
    expected = contents(whole)
    cuts = telling_cuts(data, b'\n"' if name.endswith(".csv") else b"\n{}")
    assert len(cuts) >= len(data) / 11
    for cut in cuts:
        root = tmp_path / str(cut)
        # Links are enough, and quicker: nothing is written into a file that was there before.
        shutil.copytree(whole.root, root, copy_function=os.link)
        (root / name).unlink()
        (root / name).write_bytes(data[:cut])
        work(RunPaths(root))
        assert contents(RunPaths(root)) == expected, f"{name} cut at byte {cut}"
        shutil.rmtree(root)
    assert contents(whole) == expected


@settings(max_examples=examples(25))
@given(cuts=st.fixed_dictionaries({name: st.floats(0, 1) for name in FILES}))
def test_files_cut_anywhere_all_at_once_are_made_whole(whole: RunPaths, cuts: dict[str, float]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "run"
        shutil.copytree(whole.root, root)
        for name, share in cuts.items():
            with (root / name).open("r+b") as file:
                file.truncate(int(share * (root / name).stat().st_size))
        work(RunPaths(root))
        assert contents(RunPaths(root)) == contents(whole)


def test_a_run_of_a_harness_that_kept_no_ranks_is_resumed(whole: RunPaths, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(whole.root, root)
    paths = RunPaths(root)
    paths.ranks.unlink()
    for trial in TRIALS:
        record = json.loads(paths.trial_record(trial).read_text())
        del record["rows"]["ranks"]
        paths.trial_record(trial).write_text(json.dumps(record))
    work(paths)
    assert paths.trials.read_text() == whole.trials.read_text()
    assert len(paths.ranks.read_text().splitlines()) == 1


def writing_up_to(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store write so many bytes in all; the write that goes beyond is torn and kills."""
    left = budget
    append, replace = disk.append, disk.write_atomically

    def counted(real: Callable[..., None], tear: bool) -> Callable[..., None]:
        def write(path: Path, data: bytes, **options: bool) -> None:
            nonlocal left
            if len(data) > left:
                if tear and left:
                    real(path, data[:left], **options)
                raise KilledError
            left -= len(data)
            real(path, data, **options)

        return write

    for module in (disk, run_directory):
        monkeypatch.setattr(module, "append", counted(append, tear=True))
        monkeypatch.setattr(module, "write_atomically", counted(replace, tear=False))


def test_a_harness_killed_at_any_byte_it_writes_is_resumed_without_loss(
    whole: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = 0
    while True:
        root = tmp_path / str(budget)
        root.mkdir()
        with monkeypatch.context() as patch:
            writing_up_to(budget, patch)
            try:
                work(RunPaths(root))
            except KilledError:
                killed = True
            else:
                killed = False
        work(RunPaths(root))
        assert contents(RunPaths(root)) == contents(whole), f"killed after {budget} bytes"
        shutil.rmtree(root)
        if not killed:
            break
        budget += 31  # a prime: over the runs it falls on every part of a line
    assert budget > 500


def killed_before_step(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store change the disk so many times, in whatever way; the next time kills."""
    left = number

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def change(*arguments: Any, **options: Any) -> object:
            nonlocal left
            if left == 0:
                raise KilledError
            left -= 1
            return real(*arguments, **options)

        return change

    for name in ("unlink", "replace", "rename", "mkdir", "rmdir"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    for module in (disk, run_directory):
        monkeypatch.setattr(module, "append", counted(disk.append))


def start_again(paths: RunPaths) -> None:
    """A sweep whose second trial is tried three times: it fails in epoch 2, then in epoch 3."""
    run = RunDirectory(paths, [])
    try:
        for attempt in range(3):
            begun = run.begin("t", "attempt" if attempt else None, go_on=True)
            first = begun.saved.checkpoint.epoch + 1 if begun.saved else 1
            for epoch in range(first, EPOCHS + 1):
                run.log("t", "worker0", b"x")
                run.epoch({"trial": "t", "epoch": epoch})
                if epoch == attempt + 2:
                    break  # it failed: the row is there, the checkpoint is not
                run.keep("t", Saved(Checkpoint(epoch, {"": b"w"}), {"epochs": epoch, "telemetry": 0}, 1.0, 2.0, None))
        run.finish("t", {"trial": "t", "status": "ok", "started_at": "2026-01-01T00:00:00Z"}, {})
    finally:
        run.close()


@pytest.mark.parametrize("sweep", [work, start_again])
def test_a_harness_killed_between_any_two_changes_of_the_disk_is_resumed_without_loss(
    sweep: Callable[[RunPaths], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    through = RunPaths(tmp_path / "through")
    through.root.mkdir()
    sweep(through)
    for steps in itertools.count(1):
        paths = RunPaths(tmp_path / str(steps))
        paths.root.mkdir()
        killed = 0
        for again in (0, 1):  # and the resumed one is killed as well, a little later in its own course
            with monkeypatch.context() as patch:
                killed_before_step(steps + 7 * again, patch)
                try:
                    sweep(paths)
                except KilledError:
                    killed += 1
        sweep(paths)
        assert contents(paths) == contents(through), f"killed before step {steps}"
        if not killed:
            break
    assert steps > 40


def test_a_second_harness_is_told_who_writes(tmp_path: Path) -> None:
    first = RunDirectory(RunPaths(tmp_path), [])
    with pytest.raises(BadInputError, match=r"is being written by process \d+"):
        RunDirectory(RunPaths(tmp_path), [])
    first.close()
    RunDirectory(RunPaths(tmp_path), []).close()


def test_the_logs_of_a_failed_attempt_are_kept(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    run = RunDirectory(paths, [])
    run.begin("t")
    run.log("t", "worker0", b"first")
    run.epoch({"trial": "t", "epoch": 1})
    begun = run.begin("t", "attempt")
    run.log("t", "worker0", b"second")
    run.close()
    assert (begun.attempts, begun.recoveries, begun.saved) == (2, 0, None)
    assert paths.rank_log("t", "worker0").read_bytes() == b"second"
    assert (paths.start("t", "attempt", 1) / "worker0.log").read_bytes() == b"first"
    assert len(paths.epochs.read_text().splitlines()) == 1


def saved(epoch: int, rows: int) -> Saved:
    return Saved(Checkpoint(epoch, {"": b"w"}), {"epochs": rows, "telemetry": 1}, 1.0, 2.0, 61706)


def test_a_trial_goes_on_with_the_rows_of_its_checkpoint_and_no_others(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    run = RunDirectory(paths, [])
    run.begin("t")
    for epoch in (1, 2):
        for rank in (0, 1):
            run.epoch({"trial": "t", "rank": rank, "epoch": epoch, "train_seconds": 0.1})
        run.telemetry({"trial": "t", "load_1m": epoch})
        if epoch == 1:
            run.keep("t", saved(1, 2))
    run.finish("t", {"trial": "t", "status": "failed", "started_at": "2026-01-01T00:00:00Z"}, {})
    begun = run.begin("t", "recovery", go_on=True)
    assert (begun.attempts, begun.recoveries, begun.saved) == (1, 1, saved(1, 2))
    assert [(row["epoch"], row["rank"]) for row in begun.epochs] == [("1", "0"), ("1", "1")]
    assert [row["load_1m"] for row in begun.telemetry] == ["1"]
    assert run.finished() == {}
    run.close()
    run = RunDirectory(paths, [])  # resumed without --continue: from the start
    begun = run.begin("t")
    assert (begun.attempts, begun.saved, len(paths.epochs.read_text().splitlines())) == (1, None, 1)
    assert not paths.checkpoint("t").exists()
    run.close()


def test_weights_of_an_attempt_that_was_given_up_are_nobodys(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    run = RunDirectory(paths, [])
    for attempt in (None, "attempt"):
        run.begin("t", attempt)
        for rank in (0, 1):
            run.epoch({"trial": "t", "rank": rank, "epoch": 1, "train_seconds": 0.1})
        run.telemetry({"trial": "t", "load_1m": 1})
        if attempt is None:
            run.keep("t", saved(1, 2))
    assert run.begin("t", "recovery", go_on=True).saved is None  # the rows are the second attempt's
    run.close()


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory(RunPaths(tmp_path), [])
    run.begin("t")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ResultsError, match="No space left on device") as caught:
        run.log("t", "worker0", b"x")
    assert "--resume" in caught.value.remedy


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no run directory"):
        open_run(tmp_path)
