"""What a worker was estimated to need for training, against what it had at its peak."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import allreduce_job
import pytest
import training_job
from training.estimates.answers import answer


def peak(workers: int, arguments: Sequence[str], directory: Path) -> int:
    """The resident memory of the worker that had most, in bytes."""
    found = []
    with training_job.trial(workers, 0, arguments, directory, HARNESS_TRIAL_TOKEN=allreduce_job.TOKEN) as ranks:
        for rank in ranks:
            assert rank.stdout
            said = rank.stdout.read()  # to its end
            _, status, used = os.wait4(rank.pid, 0)
            rank.returncode = os.waitstatus_to_exitcode(status)
            assert rank.returncode == 0, said
            found.append(used.ru_maxrss * 1024)
    return max(found)


@pytest.mark.mxnet
@pytest.mark.parametrize(("workers", "batch", "own"), [(1, 64, ("--kvstore=none",))])
def test_the_estimate_is_near_the_peak(tmp_path: Path, workers: int, batch: int, own: tuple[str, ...]) -> None:
    images = 4 * batch * workers
    arguments = ["--model=alexnet_32", "--dataset=patches", f"--batch-size={batch}", f"--limit={images}", *own]
    estimate = answer({"arguments": arguments, "ranks": {"worker": workers}})["memory"]["nbytes"]
    assert estimate == pytest.approx(peak(workers, [*arguments, "--epochs=2", "--no-validation"], tmp_path), rel=0.15)
