"""A quarter of the bytes: what values changed by, as 8-bit whole numbers and one scale. Pure NumPy.

What rounding leaves out is kept and added to what is sent next, so that nothing is lost over time (error feedback: Seide et al.
2014, "1-bit stochastic gradient descent"; Karimireddy et al. 2019, algorithm 1).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..engines.base import Floats

Bytes8 = npt.NDArray[np.int8]
_LARGEST = 127


class Coder:
    """One sender's numbers, always the same ones."""

    def __init__(self, size: int) -> None:
        self._left: Floats = np.zeros(size, np.float32)

    def encode(self, change: Floats) -> tuple[Bytes8, np.float32]:
        """Round, and keep what that leaves out.

        Args:
            change: (n,) float32, no unit.

        Returns:
            (n,) int8, and what one of them is, in the change's units; a scale that is not finite is that of such a change.
        """
        wanted = change + self._left
        scale = np.float32(np.abs(wanted).max(initial=0.0) / _LARGEST)
        if not (np.isfinite(scale) and scale > 0):
            return np.zeros(change.size, np.int8), scale
        coded: Bytes8 = np.rint(wanted / scale).astype(np.int8)
        self._left = wanted - decoded(coded, scale)
        return coded, scale


def decoded(coded: Bytes8, scale: np.float32) -> Floats:
    """The numbers that were sent.

    Args:
        coded: (n,) int8, in units of `scale`.
        scale: what one of them is.

    Returns:
        (n,) float32, no unit.
    """
    return coded.astype(np.float32) * scale
