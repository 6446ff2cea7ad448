"""Squares cut out of pictures: the class is the picture and the upright strip of it that a square lies in.

One .npz file of pictures, (height, width, channels) uint8: the first that the entry names, or `pictures.npz`. There are as many
strips as classes for them. Of three bands, as high as a square, the first two are for training and the third for
validation, so no pixel is in both. Squares lie `stride` pixels apart (`stride` of the entry, 2).
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...errors import ProgramError
from ..dataset import Bytes, Split
from ..files import checked
from . import REMEDY

if TYPE_CHECKING:
    from ..catalogue import Entry


def read(directory: Path, split: str, entry: Entry) -> Split:
    """All squares of the split, mixed up in an order that is always the same."""
    file = directory / (entry.files[0] if entry.files else "pictures.npz")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            pictures = [np.asarray(arrays[name]) for name in arrays]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ProgramError(f"{file} is no .npz file that can be read: {error}", REMEDY) from None
    side, _, channels = entry.images
    strips = entry.classes // max(1, len(pictures))
    form = (3 * side, strips * side, channels)
    if not pictures or any(each.ndim != 3 or any(np.less(each.shape, form)) for each in pictures):
        raise ProgramError(f"{file}: pictures of at least {form} expected", REMEDY)
    squares, labels = [], []
    for number, picture in enumerate(pictures):
        for strip, upright in enumerate(np.array_split(picture, strips, axis=1)):
            found = _squares(upright, side, int(entry.options.get("stride", 2)), split)
            squares.append(found)
            labels.append(np.full(len(found), number * strips + strip, np.uint8))
    order = np.random.RandomState(0).permutation(sum(map(len, squares)))
    images = np.concatenate(squares)[order]
    if channels == 1:
        images = images[:, 0]
    return checked(images, np.concatenate(labels)[order], file, file, entry.classes)


def _squares(strip: Bytes, side: int, stride: int, split: str) -> npt.NDArray[np.uint8]:
    """(n, channels, side, side) of a (height, width, channels) strip."""
    found = []
    for top in range(0, len(strip) - 3 * side + 1, 3 * side):
        band = strip[top : top + 2 * side] if split == "train" else strip[top + 2 * side : top + 3 * side]
        windows = np.lib.stride_tricks.sliding_window_view(band, (side, side), axis=(0, 1))[::stride, ::stride]
        found.append(windows.reshape(-1, strip.shape[2], side, side))
    return np.concatenate(found)
