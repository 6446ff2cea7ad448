"""Random crops and flips of training images. Pure, a function of seed, epoch and image: the same for any number of workers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .dataset import Bytes

NONE, CROP_FLIP = "none", "crop_flip"
"""Values of `--augmentation`."""

_MARGIN = 8
"""A margin is the side by this: 4 pixels of 32, as He and others (2015) have for CIFAR."""


def augmented(images: Bytes, chosen: npt.NDArray[np.int64], kind: str, *, count: int, seed: int, epoch: int) -> Bytes:
    """The chosen images; with `crop_flip` each is moved by up to the margin, black coming in, and mirrored or not.

    Args:
        images: (n, side, side) or (n, channels, side, side) uint8, in units of the data set's pixels.
        chosen: (steps, batch) int64, indices of images, no unit.
        kind: `none` or `crop_flip`.
        count: how many images there are, whoever has them.
        seed: of the run.
        epoch: from 1.

    Returns:
        (steps, batch, side, side) or (steps, batch, channels, side, side) uint8, in the same units.
    """
    found = images[chosen]
    if kind == NONE:
        return found
    side = images.shape[-1]
    margin = _margin(side)
    random = np.random.RandomState([seed, epoch, 0, 1])
    tops, lefts = random.randint(0, 2 * margin + 1, (2, count))
    mirrored = random.randint(0, 2, count).astype(bool)
    flat, order = found.reshape(-1, *images.shape[1:]), chosen.ravel()
    padded = np.pad(flat, ((0, 0),) * (flat.ndim - 2) + ((margin, margin),) * 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(-2, -1))
    result = np.empty_like(flat)
    for number, image in enumerate(order):
        window = windows[number, ..., tops[image], lefts[image], :, :]
        result[number] = window[..., ::-1] if mirrored[image] else window
    return result.reshape(found.shape)


def scratch(kind: str, side: int) -> float:
    """How many times as much memory as the chosen images take is needed beside them while they are made."""
    return 0.0 if kind == NONE else 1 + (1 + 2 * _margin(side) / side) ** 2


def _margin(side: int) -> int:
    return max(1, side // _MARGIN)
