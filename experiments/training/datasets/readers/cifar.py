"""CIFAR's binary files: records of label bytes, then the image's pixels, channel by channel, row by row.

The entry names the files; those whose name begins with `test` hold the validation images. CIFAR-100's records begin with two
labels, coarse and fine: its entry says `label_bytes: 2`, and the last one counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import ProgramError
from ..dataset import Split
from ..files import checked, content, find
from . import REMEDY

if TYPE_CHECKING:
    from ..catalogue import Entry


def read(directory: Path, split: str, entry: Entry) -> Split:
    """All files of the split, one after the other."""
    names = [name for name in entry.files if Path(name).name.startswith("test") is (split == "validation")]
    if not names:
        raise ProgramError(f"the data set {entry.name} names no files of {split} images", "name them under `files`")
    parts = [_read_file(find(directory, name), entry) for name in names]
    return Split(*(np.concatenate(arrays) for arrays in zip(*((p.images, p.labels) for p in parts), strict=True)))


def _read_file(file: Path, entry: Entry) -> Split:
    height, width, channels = entry.images
    labels = int(entry.options.get("label_bytes", 1))
    record = labels + height * width * channels
    data = np.frombuffer(content(file), np.uint8)
    if not data.size or data.size % record:
        raise ProgramError(f"{file}: {data.size} bytes are no whole number of records of {record} bytes", REMEDY)
    records = data.reshape(-1, record)
    shape = (channels, height, width) if channels > 1 else (height, width)
    return checked(records[:, labels:].reshape(-1, *shape), records[:, labels - 1], file, file, entry.classes)
