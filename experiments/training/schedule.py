"""The learning rate of a step. Pure."""

from __future__ import annotations

import math

SCALINGS = ("none", "sqrt", "linear")
DECAYS = ("none", "linear", "cosine")


def scaled(learning_rate: float, scaling: str, workers: int) -> float:
    """The rate for `workers` times the batch: unchanged, times sqrt(workers), or times workers."""
    factor = {"none": 1.0, "sqrt": math.sqrt(workers), "linear": float(workers)}[scaling]
    return learning_rate * factor


def at_step(target: float, step: int, warmup_steps: int) -> float:
    """The rate at `step` (from 0, over the whole run): rises linearly to `target` in `warmup_steps`, then stays."""
    return target * min(1.0, (step + 1) / warmup_steps) if warmup_steps else target


def decay(kind: str, step: int, steps: int, begins: float = 0.0) -> float:
    """What the rate of `step` (from 0, of `steps` in the run) is multiplied by, from 1 towards 0.

    `begins` is the part of the run before that. `linear` falls in a line, `cosine` by half a cosine wave (Loshchilov and
    Hutter 2017, without restarts).
    """
    first = begins * steps
    if kind == "none" or step < first:
        return 1.0
    left = (steps - step) / (steps - first)
    return left if kind == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)
