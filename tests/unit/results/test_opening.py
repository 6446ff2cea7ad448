"""How a run directory is made and found again."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.errors import BadInputError
from harness.results.opening import is_being_written, make_run, newest_run, open_run, run_paths
from harness.results.run_directory import RunDirectory

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_latest_is_the_run_that_began_last(tmp_path: Path) -> None:
    first = run_paths(tmp_path, "e", MOMENT)
    make_run(first, {"layout": 2})
    assert open_run(tmp_path / "e").root == first.root.resolve()
    second = run_paths(tmp_path, "e", MOMENT.replace(second=6))
    make_run(second, {})
    for named in (tmp_path / "e", tmp_path / "e" / "latest", second.root):
        assert open_run(named).root == second.root.resolve()
    assert open_run(first.root).root == first.root.resolve()
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == [first.root.name, second.root.name, "latest"]
    assert (tmp_path / "e" / "latest").readlink() == Path(second.root.name)  # the results may be moved


def test_a_run_is_named_by_its_moment_and_its_harness(tmp_path: Path) -> None:
    assert run_paths(tmp_path, "e", MOMENT).root == tmp_path / "e" / f"20260102T030405Z-{os.getpid()}"


def test_a_run_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    paths = run_paths(tmp_path, "e", MOMENT)
    make_run(paths, {})
    with pytest.raises(BadInputError, match="File exists"):
        make_run(paths, {})


def test_whether_a_harness_writes_now_is_told(tmp_path: Path) -> None:
    paths = run_paths(tmp_path, "e", MOMENT)
    assert not is_being_written(paths)
    with RunDirectory.new(paths, {}, []):
        assert is_being_written(paths)
    assert not is_being_written(paths)


def test_what_is_no_run_is_refused_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"no manifest\.json") as refused:
        open_run(tmp_path)
    assert "results/quickstart/latest" in refused.value.remedy


def test_the_newest_run_is_that_which_began_last_whatever_it_is_called(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="there is no run in"):
        newest_run(tmp_path)
    first, second = run_paths(tmp_path, "z", MOMENT.replace(second=9)), run_paths(tmp_path, "a", MOMENT)
    for seconds, paths in enumerate((first, second)):
        make_run(paths, {})
        os.utime(paths.manifest, (seconds, seconds))
    assert newest_run(tmp_path).root == second.root.resolve()
