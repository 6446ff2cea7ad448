"""What a worker was estimated to need for training, against what it had at its peak: cheap cases of `tests.bench.memory`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.memory import BAR, SPLIT, Case, estimate, peak


@pytest.mark.mxnet
@pytest.mark.parametrize(
    "case",
    [Case("alexnet_32", 64, "one process"), Case("alexnet_32", 64, "split", SPLIT, 2)],
    ids=lambda case: case.how,
)
def test_the_estimate_is_near_the_peak(case: Case, tmp_path: Path) -> None:
    held = bytearray(1 << 30)  # what this process has is not the worker's
    held[:: 1 << 12] = b"x" * (1 << 18)
    assert estimate(case) == pytest.approx(peak(case, tmp_path), rel=BAR)
