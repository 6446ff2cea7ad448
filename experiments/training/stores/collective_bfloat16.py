"""bfloat16 as NumPy has it not: the upper half of a float32, held in uint16. Integer operations, so fast anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.uint16]


def encode(values: Floats, halves: Halves) -> None:
    """Fill `halves` with `values` rounded to the nearest, ties to even. Infinities stay; a NaN's payload may not."""
    bits: npt.NDArray[Any] = values.view(np.uint32)
    rounded = bits >> np.uint32(16)
    rounded &= np.uint32(1)
    rounded += np.uint32(0x7FFF)
    rounded += bits
    rounded >>= np.uint32(16)
    halves[:] = rounded


def decode(halves: Halves) -> Floats:
    """The float32 that each half stands for, in a new array of the same shape."""
    bits = halves.astype(np.uint32)
    bits <<= np.uint32(16)
    return bits.view(np.float32)
