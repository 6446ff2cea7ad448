"""The program's side of checkpoints; what they are worth is tested with MXNet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from training import checkpoint, models
from training.errors import ProgramError

LENET = models.load("lenet5", 10)


def kept(path: Path, monkeypatch: pytest.MonkeyPatch, rank: int = 0, *, shared: bool = True) -> None:
    monkeypatch.setenv("HARNESS_CHECKPOINT", str(path))
    checkpoint.Keeper(rank, shared=shared).keep(3, lambda: LENET.first_weights(7))


def test_a_run_begins_with_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "checkpoint.npz"
    kept(path, monkeypatch)
    said = json.loads(capsys.readouterr().out)
    assert (said["event"], said["rank"], said["epoch"], said["shared"]) == ("checkpoint", 0, 3, True)
    assert said["bytes"] == path.stat().st_size
    monkeypatch.setenv("HARNESS_RESUME_FROM", str(path))
    begun = checkpoint.beginning(LENET, seed=0)
    assert begun.epoch == 3
    assert list(begun.arrays) == list(LENET.shapes())
    assert models.digest(begun.arrays) == models.digest(LENET.first_weights(7))
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_only_worker_0_writes_where_all_have_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path / "a", monkeypatch, rank=1)
    kept(tmp_path / "b", monkeypatch, rank=1, shared=False)
    assert [each.name for each in tmp_path.iterdir()] == ["b"]


def test_nothing_is_written_where_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_CHECKPOINT", raising=False)
    monkeypatch.chdir(tmp_path)
    checkpoint.Keeper(0, shared=True).keep(1, lambda: pytest.fail("the weights were copied"))
    assert not list(tmp_path.iterdir())


def write(path: Path, **arrays: object) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize("broken", ["absent", "torn", "pickled", "other", "epochless"])
def test_what_is_no_checkpoint_is_refused(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "resume.npz"
    if broken == "torn":
        kept(path, monkeypatch)
        path.write_bytes(path.read_bytes()[:-100])
    elif broken == "pickled":
        write(path, epoch=np.array([print], dtype=object), **LENET.first_weights(0))
    elif broken == "other":
        write(path, epoch=1, **models.load("lenet", 10).first_weights(0))
    elif broken == "epochless":
        write(path, **LENET.first_weights(0))
    monkeypatch.setenv("HARNESS_RESUME_FROM", str(path))
    with pytest.raises(ProgramError, match="checkpoint"):
        checkpoint.beginning(LENET, seed=0)
