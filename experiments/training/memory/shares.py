"""What an engine's own memory is by: fitted to measured peaks, see docs/explanation/training.md."""

from __future__ import annotations

from dataclasses import dataclass

from ..models import Architecture

MEGABYTE = 1_000_000

_VALIDATED_VALUES = 16 << 20
"""Values of all layers that validation computes at once, in float32: 64 MiB."""
_VALIDATED_IMAGES = 256


@dataclass(frozen=True)
class Share:
    """What an engine takes beside values and gradients."""

    base: int
    """Bytes of the process with its libraries, once it computes."""
    loaded: int
    """Before it does."""
    outputs: float
    """How often all layers' outputs lie in memory."""
    clipped: float
    """How often what relu6 makes does, beside the output that it is made of."""
    largest: float
    """How often the largest layer's output does: gradients, which take each other's place, and scratch."""
    validated: float
    """How often the largest layer's output does in validation."""
    adds: bool
    """Whether it always adds to gradients, else only where a batch is in pieces: an array's new one then has a place of its
    own before that."""


SHARES = {
    # oneDNN has no relu6: MXNet's own operation keeps its output, and what it takes, forwards and backwards, in plain order
    "mxnet": Share(160 * MEGABYTE, 138 * MEGABYTE, 0.8, 4.3, 3.2, 2.5, adds=False),
    "torch": Share(330 * MEGABYTE, 300 * MEGABYTE, 1.34, 0.0, 0.5, 2.0, adds=True),
}


def share_of(engine: str) -> Share:
    """An engine's; of one that was never measured, MXNet's."""
    return SHARES.get(engine, SHARES["mxnet"])


def validation_batch(architecture: Architecture) -> int:
    """Images that are validated at once: so many that their layers' outputs take 64 MiB at most, but one at least."""
    return max(1, min(_VALIDATED_IMAGES, _VALIDATED_VALUES // sum(architecture.outputs())))
