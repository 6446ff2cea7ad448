"""A run directory survives a harness that is killed at any byte."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import store
from harness.errors import BadInputError
from harness.store import RunPaths, RunStore, StoreError, open_run

TRIALS = ("n01-r1", "n02-r1", "n03-r1")
FILES = ("trials.csv", "epochs.csv", "ranks.csv", "telemetry.csv", *(f"trials/{trial}/trial.json" for trial in TRIALS))


class KilledError(BaseException):
    """The harness was killed: nothing of it runs any more."""


def work(paths: RunPaths) -> None:
    """A sweep, or the rest of one: what `harness sweep --resume` does with the store."""
    run = RunStore(paths, ["batch_size"])
    try:
        done = run.finished()
        for number, trial in enumerate(TRIALS, 1):
            if trial in done:
                continue
            run.begin(trial)
            for epoch in range(1, 3):
                run.epoch(
                    {"trial": trial, "nodes": number, "epoch": epoch, "train_seconds": 0.1 * epoch, "node": 'a, "b"'}
                )
                run.telemetry({"trial": trial, "node": "node01", "load_1m": epoch})
                run.log(trial, "worker0", b"x")
            run.rank({"trial": trial, "nodes": number, "role": "worker", "rank": 0, "cpu_seconds": 1.5})
            row = {"trial": trial, "status": "ok", "started_at": f"2026-01-01T00:00:0{number}Z", "batch_size": 64}
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
        patch.setattr(store.os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    paths = RunPaths(tmp_path_factory.mktemp("whole"))
    work(paths)
    return paths


def test_every_trial_is_there_once(whole: RunPaths) -> None:
    rows = list(csv.DictReader(whole.trials.read_text().splitlines()))
    assert [row["trial"] for row in rows] == list(TRIALS)
    assert len(whole.epochs.read_text().splitlines()) == 1 + 6


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_at_every_byte_is_made_whole_by_a_resumed_run(name: str, whole: RunPaths, tmp_path: Path) -> None:
    length = (whole.root / name).stat().st_size
    for cut in range(length):
        root = tmp_path / str(cut)
        shutil.copytree(whole.root, root)
        with (root / name).open("r+b") as file:
            file.truncate(cut)
        work(RunPaths(root))
        assert contents(RunPaths(root)) == contents(whole), f"{name} cut at byte {cut}"
        shutil.rmtree(root)


@settings(max_examples=25, deadline=None)
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
    append, replace = store._append, store.write_atomically

    def counted(real: Callable[[Path, bytes], None], tear: bool) -> Callable[[Path, bytes], None]:
        def write(path: Path, data: bytes) -> None:
            nonlocal left
            if len(data) > left:
                if tear and left:
                    real(path, data[:left])
                raise KilledError
            left -= len(data)
            real(path, data)

        return write

    monkeypatch.setattr(store, "_append", counted(append, tear=True))
    monkeypatch.setattr(store, "write_atomically", counted(replace, tear=False))


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


def test_a_second_harness_is_told_who_writes(tmp_path: Path) -> None:
    first = RunStore(RunPaths(tmp_path), [])
    with pytest.raises(BadInputError, match=r"is being written by process \d+"):
        RunStore(RunPaths(tmp_path), [])
    first.close()
    RunStore(RunPaths(tmp_path), []).close()


def test_the_logs_of_a_failed_attempt_are_kept(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    run = RunStore(paths, [])
    run.begin("t", 1)
    run.log("t", "worker0", b"first")
    run.epoch({"trial": "t", "epoch": 1})
    run.begin("t", 2)
    run.log("t", "worker0", b"second")
    run.close()
    assert paths.rank_log("t", "worker0").read_bytes() == b"second"
    assert (paths.attempt("t", 1) / "worker0.log").read_bytes() == b"first"
    assert len(paths.epochs.read_text().splitlines()) == 1


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunStore(RunPaths(tmp_path), [])
    run.begin("t")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StoreError, match="No space left on device") as caught:
        run.log("t", "worker0", b"x")
    assert "--resume" in caught.value.remedy


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no run directory"):
        open_run(tmp_path)
