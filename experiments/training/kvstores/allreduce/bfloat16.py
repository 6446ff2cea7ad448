"""bfloat16 as NumPy has it not: the upper half of a float32, held in uint16. Integer operations, so fast anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.uint16]


def encode(values: Floats, halves: Halves) -> None:
    """Round to the nearest, ties to even. Infinities stay; a NaN's payload may not.

    Args:
        values: (n,) float32, in any units.
        halves: (n,) uint16, filled with bfloat16 in the same units.
    """
    bits: npt.NDArray[Any] = values.view(np.uint32)
    rounded = bits >> np.uint32(16)
    rounded &= np.uint32(1)
    rounded += np.uint32(0x7FFF)
    rounded += bits
    rounded >>= np.uint32(16)
    halves[:] = rounded


def decode(halves: Halves) -> Floats:
    """The number that each half stands for.

    Args:
        halves: (n,) uint16, bfloat16 in any units.

    Returns:
        (n,) float32, a new array, in the same units.
    """
    bits = halves.astype(np.uint32)
    bits <<= np.uint32(16)
    return bits.view(np.float32)
