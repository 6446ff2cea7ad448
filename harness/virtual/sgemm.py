"""Measure single-precision matrix multiplication on this process's threads and print it as JSON."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from harness.virtual.profile import MATRIX_SIZE

# Long enough to meet a quiet moment on a machine that does other things too.
_SECONDS = 1.5


def best_gflops(size: int = MATRIX_SIZE) -> float:
    """Best rate of several products of two `size` x `size` float32 matrices, in GFLOP/s."""
    generator = np.random.default_rng(0)
    left = generator.random((size, size), dtype=np.float32)
    right = generator.random((size, size), dtype=np.float32)
    product = np.empty_like(left)
    best = float("inf")
    end = time.perf_counter() + _SECONDS
    while (start := time.perf_counter()) < end:
        np.matmul(left, right, out=product)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


if __name__ == "__main__":
    json.dump({"gflops": round(best_gflops(), 2)}, sys.stdout)
