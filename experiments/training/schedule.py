"""The learning rate of a step. Pure."""

from __future__ import annotations

import math

SCALINGS = ("none", "sqrt", "linear")


def scaled(learning_rate: float, scaling: str, workers: int) -> float:
    """The rate for `workers` times the batch: unchanged, times sqrt(workers), or times workers."""
    factor = {"none": 1.0, "sqrt": math.sqrt(workers), "linear": float(workers)}[scaling]
    return learning_rate * factor


def at_step(target: float, step: int, warmup_steps: int) -> float:
    """The rate at `step` (from 0, over the whole run): rises linearly to `target` in `warmup_steps`, then stays."""
    return target * min(1.0, (step + 1) / warmup_steps) if warmup_steps else target
