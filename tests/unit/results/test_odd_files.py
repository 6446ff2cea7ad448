"""What is in a run directory that the harness did not write is refused by name, and nothing is changed."""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import BadInputError, HarnessError
from harness.results.disk import remedy_of
from harness.results.run_directory import RunDirectory
from harness.results.run_paths import RunPaths

ROW = {"trial": "t", "status": "ok", "started_at": "2026-01-01T00:00:00Z"}


def finished(root: Path) -> RunPaths:
    paths = RunPaths(root)
    run = RunDirectory(paths, [])
    run.begin("t")
    run.epoch({"trial": "t", "epoch": 1})
    run.finish("t", dict(ROW), {})
    run.close()
    return paths


def contents(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ([], "is no JSON object"),
        ({}, "has no row of trials.csv"),
        ({"row": []}, "has no row of trials.csv"),
        ({"row": {**ROW, "trial": "other"}}, "is of trial 'other'"),
        ({"row": {**ROW, "status": 5}}, "has no status"),
        ({"row": {**ROW, "started_at": None}}, "has no started_at"),
        ({"row": ROW, "rows": []}, "does not say how many rows"),
        ({"row": ROW, "rows": {"epochs": "1"}}, "does not say how many rows"),
        ({"row": ROW, "rows": {"passwd": 1}}, "does not say how many rows"),
    ],
)
def test_an_odd_record_is_refused_and_nothing_is_changed(tmp_path: Path, record: object, message: str) -> None:
    paths = finished(tmp_path)
    paths.trial_record("t").write_text(json.dumps(record))
    before = contents(tmp_path)
    with pytest.raises(BadInputError, match=message) as caught:
        RunDirectory(paths, [])
    assert "trial.json" in caught.value.message
    assert "remove it: the trial is then run again" in caught.value.remedy
    assert contents(tmp_path) == before
    paths.trial_record("t").unlink()
    RunDirectory(paths, []).close()  # and its lock was let go


@pytest.mark.parametrize("torn", [b"", b'{"row": ', b"\0" * 100, b"\xff\xfe", b"[" * 100_000])
def test_a_torn_record_makes_its_trial_run_again_and_says_so(tmp_path: Path, torn: bytes) -> None:
    paths = finished(tmp_path)
    paths.trial_record("t").write_bytes(torn)
    run = RunDirectory(paths, [])
    assert run.finished() == {}
    assert run.repaired == ["trial t: its record is torn, so it is run again"]
    run.close()


def test_a_table_with_another_heading_is_refused(tmp_path: Path) -> None:
    paths = finished(tmp_path)
    text = paths.epochs.read_text()
    paths.epochs.write_text(text.replace(",", ";"))
    with pytest.raises(BadInputError, match=r"epochs.csv begins with 'trial;nodes;.*not the heading"):
        RunDirectory(paths, [])
    paths.epochs.write_text(text)
    run = RunDirectory(paths, [])
    assert run.finished() == {"t": "ok"}
    run.close()


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    paths = finished(tmp_path)
    paths.lock.unlink()
    paths.lock.mkdir()  # root writes everywhere else
    with pytest.raises(BadInputError, match=f"cannot write to {tmp_path}: Is a directory"):
        RunDirectory(paths, [])
    for number in (errno.EACCES, errno.EROFS):
        assert "make the results directory writable" in remedy_of(OSError(number, os.strerror(number)))
    assert "free some space" in remedy_of(OSError(errno.ENOSPC, "full"))


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["row", "rows", "trial", "status", "started_at", "epochs", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(record=JSON)
def test_whatever_a_record_says_is_refused_or_taken(tmp_path: Path, record: object) -> None:
    paths = RunPaths(tmp_path)
    if not paths.epochs.exists():
        finished(tmp_path)
    paths.trial("t").mkdir(parents=True, exist_ok=True)
    paths.trial_record("t").write_text(json.dumps(record))
    with suppress(HarnessError):
        RunDirectory(paths, []).close()
