"""Measure single-precision matrix multiplication on this process's threads and print it as JSON."""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from harness.virtual.profile import MATRIX_SIZE

# Enough products to meet a quiet moment of the caches, on a busy machine too.
_CPU_SECONDS = 1.0
_LIMIT_SECONDS = 20.0


def best_gflops(size: int = MATRIX_SIZE) -> float:
    """Best rate of several products of two `size` x `size` float32 matrices, in GFLOP/s of this thread's CPU time.

    CPU time, not wall time: what else the machine does at the moment is no property of its cores.
    """
    generator = np.random.default_rng(0)
    left = generator.random((size, size), dtype=np.float32)
    right = generator.random((size, size), dtype=np.float32)
    product = np.empty_like(left)
    best = float("inf")
    limit = time.perf_counter() + _LIMIT_SECONDS
    end = time.thread_time() + _CPU_SECONDS
    while (start := time.thread_time()) < end and time.perf_counter() < limit:
        np.matmul(left, right, out=product)
        best = min(best, time.thread_time() - start)
    return 2 * size**3 / best / 1e9


if __name__ == "__main__":
    json.dump({"gflops": round(best_gflops(), 2)}, sys.stdout)
