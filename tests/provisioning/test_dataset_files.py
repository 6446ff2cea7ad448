"""What the controller says of data that is absent, truncated, or not what was asked for; fast, without a node."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from role_plugins import load_plugin

from harness.paths import ANSIBLE

FILTERS = load_plugin("dataset/filter_plugins/dataset.py")
SCRIPT = ANSIBLE / "roles" / "dataset" / "files" / "prepare_dataset.py"
NAME = "train-images-idx3-ubyte"
CONTENT = bytes(range(256)) * 40
PACKED = gzip.compress(CONTENT, mtime=0)
BY_CONTENT = {NAME: {"sha256": hashlib.sha256(CONTENT).hexdigest()}}
BY_GZIP = {NAME: {"gzip_sha256": hashlib.sha256(PACKED).hexdigest()}}


def prepare(
    cache: Path,
    directory: Path | str,
    known: dict[str, Any],
    mirrors: list[str] | None = None,
    archive: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    request = {
        "name": "mnist",
        "cache": str(cache),
        "directory": str(directory),
        "variable": "HARNESS_MNIST_DIR",
        "mirrors": mirrors or [],
        "known": known,
        "archive": archive or {},
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
    assert "dataset_directories.mnist" in done.stderr
    assert "HARNESS_MNIST_DIR" in done.stderr
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


def test_mirror_may_have_the_file_as_it_is(tmp_path: Path, source: Path) -> None:
    (source / "digits.npz").write_bytes(CONTENT)
    known = {"digits.npz": {"sha256": hashlib.sha256(CONTENT).hexdigest()}}
    done = prepare(tmp_path / "cache", "", known, [f"file://{source}/"])
    assert done.returncode == 0, done.stderr
    with tarfile.open(done.stdout.strip()) as tar:
        assert "digits.npz" in tar.getnames()


MEMBER = "cifar-10-batches-bin/data_batch_1.bin"


def authors_archive(path: Path) -> dict[str, str]:
    """Write a tar.gz with one file, as the authors of a data set publish theirs; its entry in datasets.yaml."""
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(MEMBER)
        member.size = len(CONTENT)
        tar.addfile(member, io.BytesIO(CONTENT))
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


@pytest.mark.parametrize("by", ["directory", "mirror"])
def test_members_of_the_authors_archive_are_files_of_the_data_set(tmp_path: Path, source: Path, by: str) -> None:
    archive = authors_archive(source / "cifar-10-binary.tar.gz")
    known = {"data_batch_1.bin": {"member": MEMBER}}
    directory, mirrors = (source, []) if by == "directory" else ("", [f"file://{source}/"])
    done = prepare(tmp_path / "cache", directory, known, mirrors, archive)
    assert done.returncode == 0, done.stderr
    with tarfile.open(done.stdout.strip()) as tar:
        assert tar.extractfile("data_batch_1.bin").read() == CONTENT  # type: ignore[union-attr]
        manifest = json.load(tar.extractfile("dataset.json"))["files"]  # type: ignore[arg-type]
    assert manifest["data_batch_1.bin"]["archive_sha256"] == archive["sha256"]
    assert manifest["data_batch_1.bin"]["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    found = {
        "cifar-10": {
            "manifest": {"files": manifest},
            "files": {"data_batch_1.bin": manifest["data_batch_1.bin"]["sha256"]},
        }
    }
    entries = {"cifar-10": {"files": known, "archive": archive}}
    assert FILTERS.datasets_missing(found, ["cifar-10"], entries) == {}
    entries["cifar-10"]["archive"]["sha256"] = "0" * 64
    assert FILTERS.datasets_missing(found, ["cifar-10"], entries) == {
        "cifar-10": ["data_batch_1.bin has another content"]
    }


@pytest.mark.parametrize(("change", "told"), [
    ({"sha256": "0" * 64}, "cifar-10-binary.tar.gz is truncated or another file"), ({}, "cannot be taken from the archive"),
])  # fmt: skip
def test_wrong_archive_or_member_is_told(tmp_path: Path, source: Path, change: dict[str, str], told: str) -> None:
    archive = authors_archive(source / "cifar-10-binary.tar.gz") | change
    done = prepare(tmp_path / "cache", source, {"data_batch_2.bin": {"member": "nowhere"}}, [], archive)
    assert done.returncode != 0
    assert told in done.stderr
    assert "Try: " in done.stderr


def test_entry_is_all_that_a_data_set_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {
        "letters": {"directory": "HARNESS_LETTERS_DIR", "files": {"a.csv": {"sha256": "0" * 64}}},
        "digits": {"embedded": True},
    }
    assert FILTERS.datasets_missing({}, ["letters", "digits"], entries) == {"letters": ["a.csv is absent"]}
    assert FILTERS.dataset_directory(entries, "letters", {}) == ""
    monkeypatch.setenv("HARNESS_LETTERS_DIR", str(tmp_path))
    assert FILTERS.dataset_directory(entries, "letters", {}) == str(tmp_path)
    assert FILTERS.dataset_directory(entries, "letters", {"letters": "/other"}) == "/other"
    assert FILTERS.dataset_directory(entries, "digits", {}) == ""


def test_role_names_no_data_set_of_its_own() -> None:
    """Data sets are in experiments/data/datasets.yaml alone, but for which one the nodes get by default."""
    role = ANSIBLE / "roles" / "dataset"
    texts = {path: path.read_text(encoding="utf-8") for path in role.rglob("*.*") if path.suffix in (".yml", ".py")}
    assert [path for path, text in texts.items() if "fashion" in text and path.name != "argument_specs.yml"] == []
    assert [path for path, text in texts.items() if "ubyte" in text] == []
