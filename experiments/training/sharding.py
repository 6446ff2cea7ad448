"""Which worker sees which image when. Pure, and a function of its arguments alone.

Global batch t of an epoch is the t-th run of `workers * batch_size` images of the epoch's shuffle, and worker r has the
r-th part of it. So k workers with batch b walk the same global batches as one worker with batch k * b, every worker has
the same number of batches (a synchronous store hangs otherwise), and no image is seen twice in an epoch. The remainder,
fewer than `workers * batch_size` images and others in every epoch, sits out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .errors import ProgramError

Indices = npt.NDArray[np.int64]


def steps_per_epoch(images: int, batch_size: int, workers: int) -> int:
    """Batches of every worker. Raises ProgramError where there is not one."""
    steps = images // (batch_size * workers)
    if not steps:
        raise ProgramError(
            f"{images} training images do not fill one batch of {batch_size} on each of {workers} workers",
            "take a smaller batch size, fewer nodes or more images",
        )
    return steps


def epoch_shard(images: int, batch_size: int, *, rank: int, workers: int, seed: int, epoch: int) -> Indices:
    """Indices of the images of one worker in one epoch, shape (steps, batch_size)."""
    steps = steps_per_epoch(images, batch_size, workers)
    # RandomState's stream is frozen: the same shuffle with every NumPy, where Generator's may change
    order = np.random.RandomState([seed, epoch]).permutation(images)
    return order[: steps * workers * batch_size].reshape(steps, workers, batch_size)[:, rank]


def validation_range(images: int, rank: int, workers: int) -> tuple[int, int]:
    """First and last-but-one index of a worker's part of the validation images; parts differ by one image at most."""
    return images * rank // workers, images * (rank + 1) // workers
