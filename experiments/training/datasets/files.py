"""What all readers share: finding a file, unpacking it, and checking what was read."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import ProgramError
from .dataset import Split
from .readers import REMEDY


def find(directory: Path, name: str) -> Path:
    """The file of that name, plain or with `.gz`."""
    for file in (directory / name, directory / f"{name}.gz"):
        if file.is_file():
            return file
    raise ProgramError(f"no {name} (or {name}.gz) in {directory}", REMEDY)


def content(file: Path) -> bytes:
    """Its bytes, unpacked where its name ends in `.gz`."""
    try:
        raw = file.read_bytes()
        return gzip.decompress(raw) if file.suffix == ".gz" else raw
    except EOFError as error:
        raise ProgramError(f"{file} is truncated: the gzip stream ends early", REMEDY) from error
    except (OSError, zlib.error) as error:
        raise ProgramError(f"{file} cannot be read: {error}", REMEDY) from error


def checked(
    images: npt.NDArray[np.generic], labels: npt.NDArray[np.generic], images_file: Path, labels_file: Path, classes: int
) -> Split:
    """The split, once there are as many labels as square images, at least one, and every label is one of the classes.

    Args:
        images: (n, side, side) or (n, channels, side, side), any integer dtype, in units of a pixel: 0 to 255.
        labels: (n,), any integer dtype, numbers of classes, no unit.
        images_file: what to name in errors about images.
        labels_file: what to name in errors about labels.
        classes: how many there are.

    Raises:
        ProgramError: naming the file and what is wrong with it.
    """
    if len(images) != len(labels):
        raise ProgramError(f"{images_file} has {len(images)} images, {labels_file} {len(labels)} labels", REMEDY)
    if not len(images) or images.ndim not in (3, 4) or images.shape[-2] != images.shape[-1]:
        raise ProgramError(f"{images_file}: images of shape {images.shape}, square ones expected", REMEDY)
    for array, file, what, last in ((labels, labels_file, "label", classes - 1), (images, images_file, "pixel", 255)):
        if not np.issubdtype(array.dtype, np.integer):
            raise ProgramError(f"{file}: {what}s of type {array.dtype}, whole numbers expected", REMEDY)
        # every byte is a pixel: large sets of them are not looked through
        extremes = () if array.dtype == np.uint8 and last == 255 else (int(array.max()), int(array.min()))
        for value in extremes:
            if not 0 <= value <= last:
                raise ProgramError(f"{file}: {what} {value}, 0 to {last} expected", REMEDY)
    return Split(_bytes(images), _bytes(labels))


def _bytes(array: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(array.astype(np.uint8, copy=False))
