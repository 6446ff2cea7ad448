"""What the controller says of data that is absent, truncated, or not what was asked for; fast, without a node."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from harness.paths import ANSIBLE

SCRIPT = ANSIBLE / "roles" / "dataset" / "files" / "prepare_dataset.py"
NAME = "train-images-idx3-ubyte"
CONTENT = bytes(range(256)) * 40
PACKED = gzip.compress(CONTENT, mtime=0)
BY_CONTENT = {NAME: {"sha256": hashlib.sha256(CONTENT).hexdigest()}}
BY_GZIP = {NAME: {"gzip_sha256": hashlib.sha256(PACKED).hexdigest()}}


def prepare(
    cache: Path, directory: Path | str, known: dict[str, Any], mirrors: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    request = {
        "name": "mnist",
        "cache": str(cache),
        "directory": str(directory),
        "mirrors": mirrors or [],
        "known": known,
    }
    command = [sys.executable, str(SCRIPT)]
    return subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    directory.mkdir()
    return directory


@pytest.mark.parametrize(("file", "data", "known"), [
    (NAME, CONTENT, BY_CONTENT), (f"{NAME}.gz", PACKED, BY_CONTENT), (f"{NAME}.gz", PACKED, BY_GZIP),
])  # fmt: skip
def test_right_file_is_packed_with_its_manifest(
    tmp_path: Path, source: Path, file: str, data: bytes, known: dict[str, Any]
) -> None:
    (source / file).write_bytes(data)
    done = prepare(tmp_path / "cache", source, known)
    assert done.returncode == 0, done.stderr
    with tarfile.open(done.stdout.strip()) as tar:
        members = {member.name: tar.extractfile(member) for member in tar}
        assert members[NAME] is not None
        assert members[NAME].read() == CONTENT  # type: ignore[union-attr]
        manifest = json.load(members["dataset.json"])  # type: ignore[arg-type]
    written = manifest["files"][NAME]
    assert written["bytes"] == len(CONTENT)
    assert written["sha256"] == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(("file", "data", "known", "told"), [
    ("other", b"", BY_CONTENT, f"neither {NAME} nor {NAME}.gz is there"),
    (NAME, CONTENT[:-1], BY_CONTENT, "truncated or another file"),
    (f"{NAME}.gz", PACKED[:100], BY_CONTENT, "damaged or truncated"),
    (f"{NAME}.gz", b"not gzip", BY_CONTENT, "damaged or truncated"),
    (f"{NAME}.gz", gzip.compress(CONTENT, 1), BY_GZIP, "has SHA-256"),
    (NAME, CONTENT, BY_GZIP, f"{NAME}.gz is needed"),
])  # fmt: skip
def test_wrong_file_is_named_with_place_and_remedy(
    tmp_path: Path, source: Path, file: str, data: bytes, known: dict[str, Any], told: str
) -> None:
    (source / file).write_bytes(data)
    done = prepare(tmp_path / "cache", source, known)
    assert done.returncode != 0
    assert NAME in done.stderr
    assert told in done.stderr
    assert str(source) in done.stderr
    assert "Try: " in done.stderr
    assert "dataset_mnist_dir" in done.stderr
    assert not list((tmp_path / "cache").rglob("*.tar.gz"))


def test_directory_that_became_wrong_is_told_although_the_cache_would_do(tmp_path: Path, source: Path) -> None:
    (source / NAME).write_bytes(CONTENT)
    assert prepare(tmp_path / "cache", source, BY_CONTENT).returncode == 0
    (source / NAME).write_bytes(CONTENT[:-1])
    assert prepare(tmp_path / "cache", source, BY_CONTENT).returncode != 0


def test_mirrors_are_tried_in_turn(tmp_path: Path, source: Path) -> None:
    (source / f"{NAME}.gz").write_bytes(PACKED)
    done = prepare(tmp_path / "cache", "", BY_CONTENT, [f"file://{tmp_path}/nowhere/", f"file://{source}/"])
    assert done.returncode == 0, done.stderr


def test_every_mirror_that_failed_is_told(tmp_path: Path) -> None:
    done = prepare(tmp_path / "cache", "", BY_CONTENT, [f"file://{tmp_path}/a/", f"file://{tmp_path}/b/"])
    assert done.returncode != 0
    assert f"{tmp_path}/a/{NAME}.gz" in done.stderr
    assert f"{tmp_path}/b/{NAME}.gz" in done.stderr
