"""The verb `export`: what it needs, where it writes, and what it never does."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import tomllib
from pathlib import Path

import pytest
from export_runs import NAME, exported, write_whole_run

from harness.errors import BadInputError
from harness.experiment.declaration import validate
from harness.export.formats import NEEDS, Format, require
from harness.export.writing import MARK
from harness.paths import REPOSITORY
from harness.results.redaction import kept_experiment
from harness.results.run_paths import RunPaths
from harness.system.files import whole_directory

DIRECTORIES = ("parquet", "tensorboard", "crate")  # `mlflow` takes seconds, and has a file of its own


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return write_whole_run(tmp_path)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def refused(run: RunPaths, to: str, *options: str | Path) -> BadInputError:
    error = exported(run.root, to, *options).exception
    assert isinstance(error, BadInputError), error
    return error


def test_the_parts_are_those_of_pyproject() -> None:
    assert REPOSITORY is not None
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    parts = declared["optional-dependencies"]
    assert {to: list(needs.values()) for to, needs in NEEDS.items()} == {to: parts[to] for to in Format}
    (own,) = (part for part in parts["test"] if part.startswith(f"{declared['name']}["))
    assert set(Format) <= set(own.removesuffix("]").split("[")[1].split(","))


@pytest.mark.parametrize("to", Format)
def test_a_library_that_is_not_here_is_named_with_the_command_that_installs_it(
    to: Format, run: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, requirement = next(iter(NEEDS[to].items()))
    require(to)  # all are in the environment of the tests
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type] - how Python marks one that is not there
    error = refused(run, to, "-o", tmp_path / "out")
    assert error.message == f"not installed: {requirement.partition('>')[0]}, which --to {to} needs"
    assert error.remedy.startswith(f"{sys.executable} -m pip install '{requirement}'")
    assert error.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_directory_that_has_the_name_of_a_library_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "not_a_library").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(NEEDS, Format.CRATE, {"not_a_library": "not-a-library>=1"})  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match="not installed: not-a-library"):
        require(Format.CRATE)


@pytest.mark.parametrize("to", DIRECTORIES)
def test_an_export_is_named_after_the_run_and_changes_nothing_of_it(
    to: str, run: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = contents(run.root)
    done = exported(run.root, to)
    assert (done.exit_code, done.stdout) == (0, f"example-{NAME}-{to}\n"), done.output
    assert contents(run.root) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["example", f"example-{NAME}-{to}"]


def test_what_is_there_is_kept_and_only_an_export_is_ever_replaced(run: RunPaths, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert exported(run.root, "parquet", "-o", out).exit_code == 0
    (out / "own").touch()
    assert "is there already" in refused(run, "parquet", "-o", out).message
    assert (out / "own").exists()
    assert exported(run.root, "crate", "-o", out, "--force").exit_code == 0
    assert not (out / "own").exists()
    assert not (out / "trials.parquet").exists()
    for path in (tmp_path / "mine", tmp_path / "file", tmp_path / "link"):
        if path.name == "mine":
            path.mkdir()
        elif path.name == "file":
            path.touch()
        else:
            path.symlink_to(out)
        assert "is no export of this harness" in refused(run, "parquet", "-o", path, "--force").message
        assert os.path.lexists(path)
    assert (out / MARK).is_file()
    (tmp_path / MARK).touch()
    assert "is no export" in refused(run, "parquet", "-o", tmp_path, "--force").message
    assert run.trials.is_file()


def test_a_place_that_will_not_do_is_named_and_nothing_is_left(run: RunPaths, tmp_path: Path) -> None:
    assert "lies within the run" in refused(run, "crate", "-o", run.root / "crate").message
    (tmp_path / "file").touch()
    assert "cannot write" in refused(run, "crate", "-o", tmp_path / "file" / "crate").message
    text = run.trials.read_text(encoding="utf-8")
    run.trials.write_text(text.replace("n01-r1", "../../n01-r1"), encoding="utf-8")
    assert "cannot be the name of a directory" in refused(run, "tensorboard", "-o", tmp_path / "logs").message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["example", "file"]


def test_a_directory_is_replaced_when_all_is_well_and_else_kept(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "old").touch()
    with pytest.raises(FileNotFoundError), whole_directory(place, replace=True) as new:
        (new / "none" / "new").touch()
    with pytest.raises(OSError, match="not empty"), whole_directory(place) as new:
        (new / "new").touch()
    assert contents(tmp_path) == {"place/old": b""}
    with whole_directory(place, replace=True) as new:
        (new / "new").touch()
    assert contents(tmp_path) == {"place/new": b""}
    assert list(tmp_path.iterdir()) == [place]


def test_a_run_that_is_being_written_is_not_exported(run: RunPaths, tmp_path: Path) -> None:
    with run.lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "still being written" in refused(run, "parquet", "-o", tmp_path / "out").message
    assert not (tmp_path / "out").exists()


def test_a_torn_run_is_exported_with_a_note_and_one_without_results_is_not(run: RunPaths, tmp_path: Path) -> None:
    with run.epochs.open("a", encoding="utf-8") as file:
        file.write("n02-r1,2,")
    for to in DIRECTORIES:
        done = exported(run.root, to, "-o", tmp_path / to)
        assert done.exit_code == 0, done.output
        assert "note: The last line of epochs.csv was cut off" in done.stderr
    run.trials.unlink()
    assert "no trial with a result" in refused(run, "parquet", "-o", tmp_path / "none").message
    run.manifest.unlink()
    assert "no run directory" in refused(run, "parquet", "-o", tmp_path / "none").message


def test_another_store_is_for_mlflow_alone(run: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "for --to mlflow" in refused(run, "crate", "--use-tracking-uri").message
    assert "for --to mlflow" in refused(run, "mlflow", "--use-tracking-uri", "-o", tmp_path / "out").message
    assert "MLFLOW_TRACKING_URI is not set" in refused(run, "mlflow", "--use-tracking-uri").message


def test_a_secret_of_the_experiment_is_in_no_export(run: RunPaths, tmp_path: Path) -> None:
    declared = validate({"name": "e", "program": "train.py", "environment": {"API_TOKEN": "hush-hush"}}, "test")
    manifest = json.loads(run.manifest.read_text(encoding="utf-8"))
    manifest["experiment"] = kept_experiment(declared).model_dump()
    run.manifest.write_text(json.dumps(manifest), encoding="utf-8")
    for to in DIRECTORIES:
        assert exported(run.root, to, "-o", tmp_path / to).exit_code == 0
        assert not [name for name, data in contents(tmp_path / to).items() if b"hush-hush" in data]
    assert b"API_TOKEN" in (tmp_path / "parquet" / "trials.parquet").read_bytes()
