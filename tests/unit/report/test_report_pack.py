"""An archive of a run, and the notebook that opens one."""

from __future__ import annotations

import fcntl
import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from report_runs import trial, write_run
from typer.testing import CliRunner

from harness.cli.results.pack import app
from harness.contract.columns import COLUMNS
from harness.errors import BadInputError
from harness.paths import REPOSITORY
from harness.results.run_paths import RunPaths

NOTEBOOK = Path("docs/open-a-run.ipynb")


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    paths = write_run(
        tmp_path / "example" / "20310101T000000Z-1", *(trial(nodes, repeat) for nodes in (1, 2) for repeat in (1, 2))
    )
    paths.rank_log("n01-r1", "worker0").parent.mkdir(parents=True)
    paths.rank_log("n01-r1", "worker0").write_text("said\n", encoding="utf-8")
    paths.checkpoint("n01-r1").mkdir(parents=True)
    paths.checkpoint_record("n01-r1").write_text("{}", encoding="utf-8")
    paths.lock.touch()
    return paths


def packed(run: RunPaths, file: Path) -> dict[str, bytes]:
    done = CliRunner().invoke(app, [str(run.root), "--output", str(file)])
    assert done.exit_code == 0, done.output
    found = {}
    with tarfile.open(file) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            found[member.name.removeprefix("example-20310101T000000Z-1/")] = content.read()
    return found


def test_an_archive_has_what_is_needed_to_read_it(run: RunPaths, tmp_path: Path) -> None:
    found = packed(run, tmp_path / "a.tar.gz")
    tables = {"trials.csv", "epochs.csv", "telemetry.csv"}
    assert set(found) == {
        *tables, "manifest.json", "trials/n01-r1/worker0.log", "README.md", "columns.md", "experiment.yaml", "SHA256SUMS",
    }  # fmt: skip
    assert found["trials.csv"] == run.trials.read_bytes()
    assert yaml.safe_load(found["experiment.yaml"])["program"] == "train.py"
    readme = found["README.md"].decode()
    assert "harness sweep experiments/example.yaml" in readme
    assert all(f"`{name}`" in readme for name in tables)
    assert all(f"## {name}" in found["columns.md"].decode() for name in COLUMNS)
    sums = dict(line.split("  ")[::-1] for line in found["SHA256SUMS"].decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in found.items() if name != "SHA256SUMS"}


def test_the_same_run_gives_the_same_bytes(run: RunPaths, tmp_path: Path) -> None:
    packed(run, tmp_path / "a.tar.gz")
    packed(run, tmp_path / "b.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()


def refused(run: RunPaths, file: Path) -> str:
    done = CliRunner().invoke(app, [str(run.root), "--output", str(file)])
    assert isinstance(done.exception, BadInputError)
    return str(done.exception)


def test_a_run_that_is_being_written_is_not_packed(run: RunPaths, tmp_path: Path) -> None:
    with run.lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "still being written" in refused(run, tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()


def test_a_place_that_will_not_do_is_named(run: RunPaths, tmp_path: Path) -> None:
    assert "lies within the run" in refused(run, run.root / "a.tar.gz")
    (tmp_path / "file").touch()
    assert "cannot write" in refused(run, tmp_path / "file" / "a.tar.gz")


def test_the_notebook_runs_and_reads_what_the_run_says(run: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    assert REPOSITORY is not None
    notebook = json.loads((REPOSITORY / NOTEBOOK).read_text(encoding="utf-8"))
    monkeypatch.setenv("HARNESS_RUN", str(run.root))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)  # noqa: S102 - the notebook is ours
    assert list(names["by_size"].index) == [1, 2]
    assert names["by_size"]["speedup"].iloc[1] == pytest.approx(105 / 57)
    assert list(names["accuracy"].columns) == [1, 2]
    assert "wait_seconds" in names["shares"]
