from __future__ import annotations

import numpy as np
import pytest
from training.datasets.augmentation import CROP_FLIP, NONE, augmented

IMAGES = np.random.RandomState(0).randint(1, 256, (40, 3, 16, 16)).astype(np.uint8)
CHOSEN = np.arange(40).reshape(5, 8)


def changed(images: np.ndarray, chosen: np.ndarray, kind: str = CROP_FLIP, seed: int = 0, epoch: int = 1) -> np.ndarray:
    return augmented(images, chosen, kind, count=len(images), seed=seed, epoch=epoch)


def test_nothing_is_done_where_nothing_was_asked_for() -> None:
    np.testing.assert_array_equal(changed(IMAGES, CHOSEN, NONE), IMAGES[CHOSEN])


@pytest.mark.parametrize("images", [IMAGES, IMAGES[:, 0]])
def test_every_image_is_a_moved_and_perhaps_mirrored_one(images: np.ndarray) -> None:
    padded = np.pad(images, ((0, 0),) * (images.ndim - 2) + ((2, 2), (2, 2)))
    mirrored = 0
    for number, image in zip(CHOSEN.ravel(), changed(images, CHOSEN).reshape(images.shape), strict=True):
        places = [
            (flip, top, left)
            for flip in (1, -1)
            for top in range(5)
            for left in range(5)
            if (padded[number][..., top : top + 16, left : left + 16][..., ::flip] == image).all()
        ]
        assert len(places) == 1
        mirrored += places[0][0] == -1
    assert 10 < mirrored < 30


def test_it_follows_from_seed_epoch_and_image_and_not_from_the_worker() -> None:
    whole = changed(IMAGES, CHOSEN)
    np.testing.assert_array_equal(changed(IMAGES, CHOSEN[:, 3:]), whole[:, 3:])
    assert (changed(IMAGES, CHOSEN, epoch=2) != whole).any()
    assert (changed(IMAGES, CHOSEN, seed=1) != whole).any()
