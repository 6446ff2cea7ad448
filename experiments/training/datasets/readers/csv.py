"""CSV files: a line an image, its label, then its pixels, row by row (channel by channel); a line of headings may come first.

Two files: those of the entry whose names say `train` and `test`, or `train.csv` and `test.csv`; plain or gzip.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import ProgramError
from ..dataset import Split
from ..files import checked, content, find
from . import REMEDY

if TYPE_CHECKING:
    from ..catalogue import Entry

_WORDS = {"train": "train", "validation": "test"}


def read(directory: Path, split: str, entry: Entry) -> Split:
    """The split's file."""
    word = _WORDS[split]
    file = find(directory, next((name for name in entry.files if word in name), f"{word}.csv"))
    height, width, channels = entry.images
    try:
        text = content(file).decode("ascii")
        headings = text.partition("\n")[0].partition(",")[0].strip().strip('"')
        rows = np.loadtxt(
            io.StringIO(text), np.int64, delimiter=",", skiprows=0 if headings.isdecimal() else 1, ndmin=2
        )
    except ValueError as error:  # a UnicodeDecodeError too
        raise ProgramError(f"{file} holds other things than whole numbers: {error}", REMEDY) from None
    pixels = height * width * channels
    if rows.shape[1:] != (1 + pixels,):
        raise ProgramError(f"{file}: {rows.shape[-1]} numbers a line, a label and {pixels} pixels expected", REMEDY)
    shape = (channels, height, width) if channels > 1 else (height, width)
    return checked(rows[:, 1:].reshape(-1, *shape), rows[:, 0], file, file, entry.classes)
