"""NumPy's .npz with the arrays `x_train`, `y_train`, `x_test` and `y_test`, as Keras has them.

One file: the first that the entry names, or `<name>.npz`. Images are (n, height, width), or with channels last or first.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...errors import ProgramError
from ..dataset import Split
from ..files import checked
from . import REMEDY

if TYPE_CHECKING:
    from ..catalogue import Entry

_SUFFIXES = {"train": "train", "validation": "test"}


def read(directory: Path, split: str, entry: Entry) -> Split:
    """The two arrays of the split."""
    file = directory / (entry.files[0] if entry.files else f"{entry.name}.npz")
    if not file.is_file():
        raise ProgramError(f"no {file.name} in {directory}", REMEDY)
    names = [f"{letter}_{_SUFFIXES[split]}" for letter in "xy"]
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if missing := [name for name in names if name not in arrays]:
                raise ProgramError(f"{file} has no array {', '.join(missing)}: {', '.join(arrays)}", REMEDY)
            images, labels = (arrays[name] for name in names)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ProgramError(f"{file} is no .npz file that can be read: {error}", REMEDY) from None
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ProgramError(f"{file}: {names[1]} of shape {labels.shape}, one label an image expected", REMEDY)
    return checked(_channels_first(images, entry.images, file), labels, file, file, entry.classes)


def _channels_first(images: npt.NDArray[np.generic], form: tuple[int, int, int], file: Path) -> npt.NDArray[np.generic]:
    """(n, height, width) of grey images, (n, channels, height, width) of others."""
    height, width, channels = form
    found = images.shape[1:]
    if found == (height, width, channels):
        images = images.transpose(0, 3, 1, 2)
    elif found not in {(channels, height, width), (height, width)[: 2 if channels == 1 else 0]}:
        raise ProgramError(
            f"{file}: images of shape {found}, {height}x{width} with {channels} channels expected", REMEDY
        )
    return images.reshape(len(images), height, width) if channels == 1 else images
