"""In which order a stage computes a step's micro-batches forward and backward. Pure.

`gpipe`: all forward, then all backward (Huang and others, 2019, "GPipe"). `1f1b`: as soon as a micro-batch has been through
all stages it goes back, so that fewer are under way (PipeDream-Flush: Narayanan and others, 2021, "Memory-Efficient
Pipeline-Parallel DNN Training"). Both end every step with nothing under way, so both compute what one process computes.
"""

from __future__ import annotations

from typing import NamedTuple

GPIPE, ONE_FORWARD_ONE_BACKWARD = "gpipe", "1f1b"
"""Values of `--schedule`."""


class Pass(NamedTuple):
    """A micro-batch's way through a stage."""

    backward: bool
    micro_batch: int


def passes(schedule: str, stage: int, stages: int, micro_batches: int) -> list[Pass]:
    """What a stage does in a step, in this order. All stages do the same passes of all micro-batches in the same order, forward
    and backward each, so that messages between them need no numbers."""
    ahead = under_way(schedule, stage, stages, micro_batches)
    forward = [Pass(backward=False, micro_batch=number) for number in range(micro_batches)]
    backward = [Pass(backward=True, micro_batch=number) for number in range(micro_batches)]
    if schedule == GPIPE:
        return forward + backward
    found = forward[: ahead - 1]
    for number in range(micro_batches - ahead + 1):
        found += [forward[number + ahead - 1], backward[number]]
    return found + backward[micro_batches - ahead + 1 :]


def under_way(schedule: str, stage: int, stages: int, micro_batches: int) -> int:
    """How many micro-batches a stage keeps at once, between forward and backward."""
    return micro_batches if schedule == GPIPE else min(micro_batches, stages - stage)


def bubble(stages: int, micro_batches: int) -> float:
    """The part of a step in which a stage has nothing to do, where all stages take equally long and sending takes no time."""
    return (stages - 1) / (micro_batches + stages - 1)
