"""Images and labels, as they lie in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..errors import ProgramError

Bytes = npt.NDArray[np.uint8]


_MOST_BYTES = 256 << 20
"""Enlarged images that are kept: beyond that, repeating pixels in every step is cheaper than a node's memory."""


def enlargement(own: int, side: int) -> int:
    """How often each pixel fits into `side`; what is left over must be even, to be padded at both edges.

    28 stays 28 in 32 (2 left at each edge), 8 becomes 32 in 32 and 24 in 28. Raises ProgramError where nothing fits.
    """
    factor = side // own
    if not factor or (side - own * factor) % 2:
        raise ProgramError(f"images of {own}x{own} do not fit the model's {side}x{side}", "choose another data set")
    return factor


@dataclass(frozen=True)
class Form:
    """How many images a data set has, and of which size: what their place in memory follows from."""

    train: int
    validation: int
    side: int
    """Height and width in pixels, as they are read."""
    channels: int

    def is_kept(self, side: int) -> bool:
        """Whether enlarged images are kept for a model that sees `side` by `side`; else the engine enlarges in every step."""
        return (self.train + self.validation) * self.channels * side * side <= _MOST_BYTES

    def check_channels(self, channels: int) -> None:
        """Raise ProgramError where a model takes other colours."""
        if self.channels != channels:
            raise ProgramError(
                f"images have channels: {self.channels}, the model takes: {channels}",
                "choose another data set or model",
            )

    def nbytes(self, side: int, channels: int) -> int:
        """Bytes of all images as they are kept for such a model. Raises ProgramError where they do not fit it."""
        self.check_channels(channels)
        factor = enlargement(self.side, side)
        kept = self.side * (factor if self.is_kept(side) else 1)
        return (self.train + self.validation) * channels * kept * kept

    def cut(self, limit: int | None, holdout: int | None) -> Form:
        """With the first `limit` training images only, the last `holdout` of which are the validation images."""
        train = self.train if limit is None else min(limit, self.train)
        if not holdout:
            return replace(self, train=train)
        return replace(self, train=max(0, train - holdout), validation=holdout)


@dataclass(frozen=True)
class Split:
    """`images` of shape (n, side, side), or (n, channels, side, side) in colour, and `labels` of shape (n,), uint8 both."""

    images: Bytes
    labels: Bytes

    def enlarged(self, side: int) -> Split:
        """Each pixel repeated as often as fits. Raises ProgramError where nothing does."""
        factor = enlargement(self.images.shape[-1], side)
        return replace(self, images=self.images.repeat(factor, axis=-2).repeat(factor, axis=-1))


@dataclass(frozen=True)
class Dataset:
    """Images are divided by `deviation`, and by nothing moved: black stays zero, so that padding is black."""

    train: Split
    validation: Split
    deviation: float
    """Standard deviation of all training pixels, in their own unit."""
    classes: int
    factor: int = 1
    """How often the engine is to repeat each pixel, to both sides, before the model sees the images."""

    @property
    def side(self) -> int:
        """Height and width of the images as the model is to see them, in pixels."""
        return int(self.train.images.shape[-1]) * self.factor

    @property
    def channels(self) -> int:
        """1 where images are grey."""
        return int(self.train.images.shape[1]) if self.train.images.ndim == 4 else 1

    @property
    def form(self) -> Form:
        """How many images there are, and of which size, as they lie here."""
        return Form(
            len(self.train.images), len(self.validation.images), int(self.train.images.shape[-1]), self.channels
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all images."""
        return int(self.train.images.nbytes + self.validation.images.nbytes)

    def holding_out(self, count: int | None) -> Dataset:
        """The last `count` training images as validation images instead of its own; raises ProgramError where there are
        no more."""
        if not count:
            return self
        first = len(self.train.images) - count
        if first < 1:
            raise ProgramError(
                f"of {len(self.train.images)} training images {count} cannot be held out", "hold fewer out"
            )
        train, held = (
            Split(self.train.images[part], self.train.labels[part]) for part in (slice(first), slice(first, None))
        )
        return replace(self, train=train, validation=held)

    def enlarged(self, side: int) -> Dataset:
        """The same images for a model that sees `side` by `side`; raises ProgramError where they do not fit."""
        return replace(self, train=self.train.enlarged(side), validation=self.validation.enlarged(side))

    def fitted(self, side: int, channels: int) -> Dataset:
        """As `enlarged`, or left to the engine where it is much. Raises ProgramError also where the colours differ."""
        self.form.check_channels(channels)
        if self.form.is_kept(side):
            return self.enlarged(side)
        return replace(self, factor=enlargement(self.form.side, side))
