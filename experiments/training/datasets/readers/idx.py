"""IDX files, as MNIST has them: `train-images-idx3-ubyte` and the like, plain or gzip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import ProgramError
from ..dataset import Bytes, Split
from ..files import checked, content, find
from . import REMEDY

if TYPE_CHECKING:
    from ..catalogue import Entry

_PREFIXES = {"train": "train", "validation": "t10k"}


def read(directory: Path, split: str, entry: Entry) -> Split:
    """Training images are in the files that begin with `train`, validation images in those with `t10k`."""
    return read_split(directory, _PREFIXES[split], entry.classes)


def read_split(directory: Path, prefix: str, classes: int) -> Split:
    """Read `<prefix>-images-idx3-ubyte` and `<prefix>-labels-idx1-ubyte`, each plain or with `.gz`."""
    images_file = find(directory, f"{prefix}-images-idx3-ubyte")
    labels_file = find(directory, f"{prefix}-labels-idx1-ubyte")
    images, labels = read_idx(images_file, dimensions=3), read_idx(labels_file, dimensions=1)
    return checked(images, labels, images_file, labels_file, classes)


def read_idx(file: Path, dimensions: int) -> Bytes:
    """Read one IDX file of unsigned bytes.

    Args:
        file: plain, or with `.gz`.
        dimensions: how many the array must have: 1 or 3.

    Returns:
        (n,) or (n, height, width) uint8: class numbers, no unit, or pixels, in units of the file.

    Raises:
        ProgramError: where it is anything else.
    """
    data = content(file)
    header = 4 + 4 * dimensions
    magic = bytes((0, 0, 8, dimensions))
    if data[:4] != magic[: len(data)]:
        found = data[:4].hex()
        raise ProgramError(f"{file} is no IDX file of {dimensions} dimensions: begins with {found}", REMEDY)
    shape = tuple(int(size) for size in np.frombuffer(data[4:header].ljust(4 * dimensions, b"\0"), ">u4"))
    expected = header + int(np.prod(shape, dtype=np.int64))
    if len(data) < max(header, expected):
        raise ProgramError(f"{file} is truncated: {len(data)} bytes of {max(header, expected)}", REMEDY)
    if len(data) > expected:
        raise ProgramError(f"{file} is too long: {len(data)} bytes, its header says {expected}", REMEDY)
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
