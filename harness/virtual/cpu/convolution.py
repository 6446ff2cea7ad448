"""Measure small convolutions on one thread of this machine and print the rate as JSON.

Two layers of LeNet-5's sizes on a batch of 64 images, each as a gathering of patches and one matrix product: what a
training step on such a board mostly is. A large matrix product would say more of a processor's peak than a small network
ever gets.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

BATCH = 64
KERNEL = 5
# Channels and height of the input (padding included), channels of the output.
LAYERS = ((1, 32, 6), (6, 14, 16))
# Enough repetitions to meet a quiet moment of the caches, on a busy machine too.
_CPU_SECONDS = 2.0
_LIMIT_SECONDS = 30.0


def convolve(images: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve `images` (batch, channels, height, width) with `weights` (patch, out): (batch, positions, out), all float32."""
    windows = sliding_window_view(images, (KERNEL, KERNEL), axis=(2, 3))
    patches = np.ascontiguousarray(windows.transpose(0, 2, 3, 1, 4, 5)).reshape(-1, weights.shape[0])
    product: NDArray[np.float32] = patches @ weights
    return product.reshape(len(images), -1, weights.shape[1])


def operations() -> int:
    """Multiplications and additions of one pass over all layers."""
    return sum(2 * BATCH * (height - KERNEL + 1) ** 2 * channels * KERNEL**2 * out for channels, height, out in LAYERS)


def best_gflops() -> float:
    """Best rate of several passes, in GFLOP/s of this thread's CPU time.

    CPU time, not wall time: what else the machine does at the moment is no property of its cores.
    """
    generator = np.random.default_rng(0)
    layers = [
        (
            generator.random((BATCH, channels, height, height), dtype=np.float32),
            generator.random((channels * KERNEL**2, out), dtype=np.float32),
        )
        for channels, height, out in LAYERS
    ]
    best = float("inf")
    limit = time.perf_counter() + _LIMIT_SECONDS
    end = time.thread_time() + _CPU_SECONDS
    while (start := time.thread_time()) < end and time.perf_counter() < limit:
        for images, weights in layers:
            convolve(images, weights)
        best = min(best, time.thread_time() - start)
    return operations() / best / 1e9


if __name__ == "__main__":
    json.dump({"gflops": round(best_gflops(), 3)}, sys.stdout)
