"""The strategy `towers`: branches beside each other are computed by different workers, everything else is data-parallel.

The two halves of Krizhevsky, Sutskever and Hinton 2012 ("ImageNet classification with deep convolutional neural networks",
section 3.5), for any model with a concatenation. Consecutive workers are a group. Each has some branches, gets what comes to
them of all the group's images, and computes them for all of these. The concatenation puts the branches' outputs together for
the workers that have the images. The mathematics are those of data parallelism.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..models import Architecture
    from ..options import Options
    from .division import Division

TOWERS = "towers"
"""The value of `--strategy`."""


def planned(architecture: Architecture, chosen: Options, workers: int) -> Division | None:
    """Who computes which branches; None for one worker, and where the strategy is another. Raises ProgramError."""
    if chosen.own.get("strategy") != TOWERS:
        return None
    from .division import divided

    return divided(architecture, int(chosen.own["towers"]), workers)
