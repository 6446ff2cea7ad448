"""What a worker was estimated to need for training, against what it had at its peak."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import allreduce_job
import pytest
import training_job
from training.estimates.answers import answer


def peak(arguments: Sequence[str], directory: Path) -> int:
    """The resident memory of one worker at its most, in bytes.

    Not as wait4 has it: that counts what the process was before it became the program, a copy of all of pytest.
    """
    most = 0
    with training_job.trial(1, 0, arguments, directory, HARNESS_TRIAL_TOKEN=allreduce_job.TOKEN) as (rank,):
        assert rank.stdout
        for _ in rank.stdout:
            most = max(most, _resident_at_most(rank.pid))
        assert rank.wait(training_job.LIMIT_SECONDS) == 0
    return most


def _resident_at_most(pid: int) -> int:
    """Bytes; 0 where the process has just ended."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


@pytest.mark.mxnet
@pytest.mark.parametrize(("batch", "own"), [(64, ("--kvstore=none",))])
def test_the_estimate_is_near_the_peak(tmp_path: Path, batch: int, own: tuple[str, ...]) -> None:
    arguments = ["--model=alexnet_32", "--dataset=patches", f"--batch-size={batch}", f"--limit={4 * batch}", *own]
    estimate = answer({"arguments": arguments, "ranks": {"worker": 1}})["memory"]["nbytes"]
    held = bytearray(1 << 30)  # what this process has is not the worker's
    held[:: 1 << 12] = b"x" * (1 << 18)
    assert estimate == pytest.approx(peak([*arguments, "--epochs=2", "--no-validation"], tmp_path), rel=0.15)
