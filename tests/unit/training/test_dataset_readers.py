"""The data sets' entries, and the readers of every form of files but IDX, which has tests of its own."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training import datasets
from training.datasets.catalogue import catalogue, load
from training.datasets.readers import cifar, csv, npz, pictures
from training.errors import ProgramError

RANDOM = np.random.RandomState(0)
COLOURED = RANDOM.randint(0, 256, (5, 3, 4, 4)).astype(np.uint8)
GREY = COLOURED[:, 0]
LABELS = np.array([0, 9, 4, 1, 1], np.uint8)


def entry(reader: str, channels: int = 3, files: tuple[str, ...] = (), **options: Any) -> datasets.Entry:
    return datasets.Entry("small", reader, False, (4, 4, channels), 10, 64.0, files, options)


def write_cifar(file: Path, images: np.ndarray, labels: np.ndarray, extra: int = 0) -> None:
    front = np.full((len(labels), extra), 77, np.uint8)
    file.write_bytes(np.concatenate([front, labels[:, None], images.reshape(len(images), -1)], axis=1).tobytes())


def test_every_entry_of_the_file_is_sound() -> None:
    assert {"digits", "mnist", "fashion-mnist"} <= set(catalogue())
    assert catalogue()["digits"].deviation == 6.0
    assert catalogue()["mnist"].directory(Path("/data")) == Path("/data/mnist")


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("reader", "tiff", "reader: tiff is none of cifar, csv, idx, npz"),
        ("classes", 0, "classes: 0 is no whole number"),
        ("deviation", None, "deviation: None is no positive number"),
        ("images", 28, "images: {height, width, channels} is missing"),
        ("counts", {"train": 5}, "counts: {'train': 5} are no whole numbers of at least 1, train and validation"),
        ("counts", {"train": 5, "validation": 0}, "are no whole numbers of at least 1"),
        ("images", {"height": 28, "width": 28}, "channels: None is no whole number"),
    ],
)
def test_a_wrong_entry_is_refused(tmp_path: Path, key: str, value: object, complaint: str) -> None:
    import yaml

    good = {"reader": "idx", "images": {"height": 8, "width": 8, "channels": 1}, "classes": 10, "deviation": 6.0}
    (tmp_path / "datasets.yaml").write_text(yaml.safe_dump({"mine": {**good, key: value}}), encoding="utf-8")
    with pytest.raises(ProgramError) as caught:
        catalogue(tmp_path / "datasets.yaml")
    assert complaint in caught.value.message


def test_squares_of_pictures_share_no_pixel_between_training_and_validation(tmp_path: Path) -> None:
    marked = np.arange(2 * 24 * 20 * 3, dtype=np.uint32).reshape(2, 24, 20, 3)
    np.savez(
        tmp_path / "pictures.npz",
        **{name: each % 251 for name, each in zip("ab", marked.astype(np.uint8), strict=True)},
    )
    asked = datasets.Entry("small", "pictures", True, (4, 4, 3), 10, 64.0, (), {"stride": 1})
    train, held = (pictures.read(tmp_path, split, asked) for split in ("train", "validation"))
    assert train.images.shape[1:] == held.images.shape[1:] == (3, 4, 4)
    assert np.bincount(train.labels).tolist() == [2 * 5] * 10  # two bands of 8 rows, strips of 4 columns
    assert np.bincount(held.labels).tolist() == [2] * 10
    np.savez(tmp_path / "pictures.npz", a=np.zeros((24, 18, 3), np.uint8), b=np.zeros((24, 18, 3), np.uint8))
    with pytest.raises(ProgramError, match="pictures of at least"):
        pictures.read(tmp_path, "train", asked)


def test_the_embedded_patches_are_all_there() -> None:
    found = load("patches", Path("unused"))
    assert found.train.images.shape == (5780, 3, 32, 32)
    assert found.validation.images.shape == (340, 3, 32, 32)
    assert found.train.images.std() == pytest.approx(found.deviation, abs=0.01)


def test_too_many_enlarged_images_are_left_to_the_engine() -> None:
    found = load("patches", Path("unused")).fitted(224, 3)
    assert (found.factor, found.side, found.train.images.shape[-1]) == (7, 224, 32)
    few = load("patches", Path("unused"), 100).fitted(224, 3)
    assert (few.factor, few.side, few.train.images.shape[-1]) == (1, 224, 224)


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(ProgramError, match="no data set imagenet"):
        load("imagenet", Path("/data"))


@pytest.mark.parametrize("label_bytes", [1, 2])
def test_cifars_files_are_joined_and_the_last_label_counts(tmp_path: Path, label_bytes: int) -> None:
    names = ("batch_1.bin", "batch_2.bin", "test.bin")
    for name, part in zip(names, (slice(0, 2), slice(2, 4), slice(4, 5)), strict=True):
        write_cifar(tmp_path / name, COLOURED[part], LABELS[part], label_bytes - 1)
    described = entry("cifar", files=names, label_bytes=label_bytes)
    train, validation = (cifar.read(tmp_path, split, described) for split in ("train", "validation"))
    np.testing.assert_array_equal(train.images, COLOURED[:4])
    np.testing.assert_array_equal(train.labels, LABELS[:4])
    np.testing.assert_array_equal(validation.images, COLOURED[4:])


def test_cifars_faults_name_the_file(tmp_path: Path) -> None:
    described = entry("cifar", files=("batch.bin", "test.bin"))
    with pytest.raises(ProgramError, match=r"no batch\.bin"):
        cifar.read(tmp_path, "train", described)
    write_cifar(tmp_path / "batch.bin", COLOURED, LABELS + 1)
    with pytest.raises(ProgramError, match=r"batch\.bin: label 10, 0 to 9 expected"):
        cifar.read(tmp_path, "train", described)
    (tmp_path / "test.bin").write_bytes(bytes(48))
    with pytest.raises(ProgramError, match=r"test\.bin: 48 bytes are no whole number of records of 49 bytes"):
        cifar.read(tmp_path, "validation", described)
    with pytest.raises(ProgramError, match="names no files of validation images"):
        cifar.read(tmp_path, "validation", entry("cifar", files=("batch.bin",)))


@pytest.mark.parametrize(
    ("images", "channels", "expected"),
    [
        (GREY, 1, GREY),
        (GREY[..., None], 1, GREY),
        (COLOURED, 3, COLOURED),
        (COLOURED.transpose(0, 2, 3, 1), 3, COLOURED),
    ],
)
def test_npz_with_channels_first_last_or_none(
    tmp_path: Path, images: np.ndarray, channels: int, expected: np.ndarray
) -> None:
    np.savez(
        tmp_path / "small.npz",
        x_train=images, y_train=LABELS[:, None].astype(np.int64), x_test=images[:2], y_test=LABELS[:2],
    )  # fmt: skip
    train = npz.read(tmp_path, "train", entry("npz", channels))
    np.testing.assert_array_equal(train.images, expected)
    np.testing.assert_array_equal(train.labels, LABELS)
    assert train.images.dtype == train.labels.dtype == np.uint8
    assert len(npz.read(tmp_path, "validation", entry("npz", channels)).images) == 2


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"x_train": GREY}, "has no array y_train"),
        ({"x_train": GREY, "y_train": LABELS[:2]}, "has 5 images"),
        ({"x_train": GREY, "y_train": LABELS + 1}, "label 10, 0 to 9 expected"),
        ({"x_train": GREY.astype(np.int64) + 200, "y_train": LABELS}, "0 to 255 expected"),
        ({"x_train": GREY / 255, "y_train": LABELS}, "pixels of type float64, whole numbers expected"),
        ({"x_train": COLOURED, "y_train": LABELS}, "4x4 with 1 channels expected"),
        ({"x_train": GREY, "y_train": np.eye(10, dtype=np.uint8)[LABELS]}, "one label an image expected"),
        ({"x_train": GREY, "y_train": np.array([print] * 5, dtype=object)}, "no .npz file that can be read"),
    ],
)
def test_npz_faults_name_the_file(tmp_path: Path, arrays: dict[str, Any], complaint: str) -> None:
    np.savez(tmp_path / "small.npz", **arrays)
    with pytest.raises(ProgramError) as caught:
        npz.read(tmp_path, "train", entry("npz", 1))
    assert str(tmp_path / "small.npz") in caught.value.message
    assert complaint in caught.value.message


def test_a_torn_or_absent_npz_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"no small\.npz"):
        npz.read(tmp_path, "train", entry("npz", 1))
    np.savez(tmp_path / "small.npz", x_train=GREY, y_train=LABELS)
    (tmp_path / "small.npz").write_bytes((tmp_path / "small.npz").read_bytes()[:-40])
    with pytest.raises(ProgramError, match=r"small\.npz is no \.npz file"):
        npz.read(tmp_path, "train", entry("npz", 1))


@pytest.mark.parametrize("headings", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("images", [GREY, COLOURED])
def test_csv_with_and_without_headings(tmp_path: Path, headings: bool, packed: bool, images: np.ndarray) -> None:
    rows = [",".join(map(str, (label, *image.ravel()))) for label, image in zip(LABELS, images, strict=True)]
    text = "\n".join([*(["label," + ",".join("p" * (images[0].size))] if headings else []), *rows]) + "\n"
    content = gzip.compress(text.encode()) if packed else text.encode()
    (tmp_path / ("train.csv.gz" if packed else "train.csv")).write_bytes(content)
    split = csv.read(tmp_path, "train", entry("csv", 1 if images.ndim == 3 else 3))
    np.testing.assert_array_equal(split.images, images)
    np.testing.assert_array_equal(split.labels, LABELS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1,2,3\n", "3 numbers a line, a label and 16 pixels expected"),
        ("1" + ",0" * 16 + "\n2,0\n", "other things than whole numbers"),
        ("1" + ",x" * 16 + "\n", "other things than whole numbers"),
        ("1" + ",300" * 16 + "\n", "pixel 300, 0 to 255 expected"),
        ("10" + ",3" * 16 + "\n", "label 10, 0 to 9 expected"),
    ],
)
def test_csv_faults_name_the_file(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "mine_test.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ProgramError) as caught:
        csv.read(tmp_path, "validation", entry("csv", 1, files=("mine_train.csv", "mine_test.csv")))
    assert "mine_test.csv" in caught.value.message
    assert complaint in caught.value.message


def test_images_of_other_colours_do_not_fit_a_model() -> None:
    split = datasets.Split(COLOURED, LABELS)
    dataset = datasets.Dataset(split, split, 64.0, 10)
    assert (dataset.side, dataset.channels) == (4, 3)
    assert dataset.fitted(8, 3).train.images.shape == (5, 3, 8, 8)
    with pytest.raises(ProgramError, match="images have channels: 3, the model takes: 1"):
        dataset.fitted(8, 1)
