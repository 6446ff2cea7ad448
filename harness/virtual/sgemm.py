"""Measure single-precision matrix multiplication on this process's threads and print it as JSON."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from harness.virtual.profile import MATRIX_SIZE

_TRIES = 60
_LIMIT_SECONDS = 5.0


def best_gflops(size: int = MATRIX_SIZE) -> float:
    """Best rate of several products of two `size` x `size` float32 matrices, in GFLOP/s."""
    generator = np.random.default_rng(0)
    left = generator.random((size, size), dtype=np.float32)
    right = generator.random((size, size), dtype=np.float32)
    product = np.empty_like(left)
    best = float("inf")
    begin = time.perf_counter()
    for _ in range(_TRIES):
        start = time.perf_counter()
        np.matmul(left, right, out=product)
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() - begin > _LIMIT_SECONDS:
            break
    return 2 * size**3 / best / 1e9


if __name__ == "__main__":
    json.dump({"gflops": round(best_gflops(), 2)}, sys.stdout)
