from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from training import datasets
from training.datasets.dataset import Bytes
from training.datasets.readers import idx as reader
from training.errors import ProgramError

IMAGES = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
LABELS = np.array([0, 9, 4], np.uint8)


def idx(array: Bytes) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()


def write(directory: Path, images: bytes = idx(IMAGES), labels: bytes = idx(LABELS), prefix: str = "train") -> None:
    directory.mkdir(exist_ok=True)
    (directory / f"{prefix}-images-idx3-ubyte").write_bytes(images)
    (directory / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)


@pytest.mark.parametrize("packed", [False, True])
def test_reads_plain_and_packed_files(tmp_path: Path, packed: bool) -> None:
    write(tmp_path)
    if packed:
        for file in list(tmp_path.iterdir()):
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
    split = reader.read_split(tmp_path, "train", classes=10)
    np.testing.assert_array_equal(split.images, IMAGES)
    np.testing.assert_array_equal(split.labels, LABELS)


@pytest.mark.parametrize("length", [*range(17), 40, 63])
def test_a_truncated_file_is_an_error_wherever_it_ends(tmp_path: Path, length: int) -> None:
    write(tmp_path, images=idx(IMAGES)[:length])
    with pytest.raises(ProgramError, match=r"train-images-idx3-ubyte is truncated") as caught:
        reader.read_split(tmp_path, "train", classes=10)
    assert "--data-dir" in caught.value.remedy


@pytest.mark.parametrize("length", [0, 5, 20, -5, -1])
def test_a_truncated_packed_file_is_an_error_wherever_it_ends(tmp_path: Path, length: int) -> None:
    packed = gzip.compress(idx(IMAGES))
    file = tmp_path / "images.gz"
    file.write_bytes(packed[:length])
    with pytest.raises(ProgramError, match=r"images\.gz is truncated"):
        reader.read_idx(file, dimensions=3)


def test_a_packed_file_that_is_damaged_is_an_error(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(idx(IMAGES)))
    packed[len(packed) // 2] ^= 0xFF
    file = tmp_path / "images.gz"
    for content in (bytes(packed), b"no gzip at all"):
        file.write_bytes(content)
        with pytest.raises(ProgramError, match=r"images\.gz"):
            reader.read_idx(file, dimensions=3)


@pytest.mark.parametrize(
    ("images", "labels", "complaint"),
    [
        (idx(LABELS), idx(LABELS), "no IDX file of 3 dimensions: begins with 00000801"),
        (b"<html>not found", idx(LABELS), "begins with 3c68746d"),
        (idx(IMAGES) + b"\0", idx(LABELS), "too long"),
        (idx(IMAGES), idx(LABELS[:2]), "has 3 images"),
        (idx(IMAGES[:0]), idx(LABELS[:0]), "square ones expected"),
        (idx(IMAGES[:, :2]), idx(LABELS), "square ones expected"),
        (idx(IMAGES), idx(LABELS + 1), "label 10"),
        (bytes((0, 0, 8, 3)) + b"\xff" * 12, idx(LABELS), "truncated"),
    ],
)
def test_wrong_content_is_an_error(tmp_path: Path, images: bytes, labels: bytes, complaint: str) -> None:
    write(tmp_path, images, labels)
    with pytest.raises(ProgramError, match=complaint):
        reader.read_split(tmp_path, "train", classes=10)


def test_an_absent_file_is_an_error_that_names_both_of_its_forms(tmp_path: Path) -> None:
    write(tmp_path / "mnist")
    with pytest.raises(ProgramError, match=r"no t10k-images-idx3-ubyte \(or t10k-images-idx3-ubyte.gz\) in .*mnist"):
        datasets.load("mnist", tmp_path)


def test_limit_keeps_the_first_training_images_and_all_validation_images(tmp_path: Path) -> None:
    write(tmp_path / "mnist")
    write(tmp_path / "mnist", prefix="t10k")
    dataset = datasets.load("mnist", tmp_path, limit=2)
    np.testing.assert_array_equal(dataset.train.images, IMAGES[:2])
    assert len(dataset.validation.images) == 3


def test_the_embedded_digits() -> None:
    dataset = datasets.load("digits", Path("/nowhere"))
    assert dataset.train.images.shape == (1497, 8, 8)
    assert dataset.validation.images.shape == (300, 8, 8)
    assert dataset.train.images.std() == pytest.approx(dataset.deviation, abs=0.01)
    assert set(dataset.train.labels) == set(dataset.validation.labels) == set(range(10))
    assert dataset.enlarged(32).side == 32
    assert dataset.enlarged(28).side == 24


def test_images_are_enlarged_by_whole_pixels() -> None:
    split = datasets.Split(np.array([[[1, 2], [3, 4]]], np.uint8), np.zeros(1, np.uint8))
    np.testing.assert_array_equal(split.enlarged(4).images[0], [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]])
    with pytest.raises(ProgramError, match="do not fit"):
        split.enlarged(5)
    with pytest.raises(ProgramError, match="do not fit"):
        split.enlarged(1)
