"""A home's stream: which images it sees at which tick, and what it remembers of them."""

from __future__ import annotations

import numpy as np

from ..datasets import Split
from ..datasets.dataset import Bytes
from ..partition import Partition
from .world import Calendar


class Stream:
    """So many labelled images a tick, of this home's own part of the training images, as the world of the tick shows them."""

    def __init__(self, images: Split, partition: Partition, calendar: Calendar, classes: int) -> None:
        self._images = images
        self._partition = partition
        self._calendar = calendar
        self._classes = classes
        self._orders: dict[int, list[np.ndarray]] = {}

    def tick(self, number: int) -> tuple[Bytes, Bytes]:
        """The images of a tick, from 1; the home's part begins anew when it is through.

        Returns:
            (batch, side, side) or (batch, channels, side, side) uint8, in units of the data set's pixels; (batch,)
            uint8, classes.
        """
        walk = len(self._walk(1))
        chosen = self._walk(1 + (number - 1) // walk)[(number - 1) % walk]
        return self._calendar.world(number).seen(
            self._images.images[chosen], self._images.labels[chosen], self._classes
        )

    def _walk(self, number: int) -> list[np.ndarray]:
        if number not in self._orders:
            self._orders[number] = list(self._partition.epoch(number))
        return self._orders[number]


class Reservoir:
    """Images that the home has seen, as it saw them, each kept with the same chance (Vitter 1985, algorithm R)."""

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._random = np.random.RandomState([seed, 77])
        self._kept: list[tuple[Bytes, np.uint8]] = []
        self._seen = 0

    def take(self, images: Bytes, labels: Bytes) -> None:
        """See images.

        Args:
            images: (n, side, side) or (n, channels, side, side) uint8, in units of the data set's pixels.
            labels: (n,) uint8, numbers of classes, no unit.
        """
        for image, label in zip(images, labels, strict=True):
            self._seen += 1
            if len(self._kept) < self._size:
                self._kept.append((image, label))
            elif (place := self._random.randint(self._seen)) < self._size:
                self._kept[place] = (image, label)

    def draw(self, count: int) -> tuple[Bytes, Bytes]:
        """Some of them, with repetition.

        Returns:
            (count, side, side) or (count, channels, side, side) uint8, in units of the data set's pixels; (count,)
            uint8, classes.
        """
        chosen = [self._kept[place] for place in self._random.randint(len(self._kept), size=count)]
        return np.stack([image for image, _ in chosen]), np.array([label for _, label in chosen], np.uint8)
