"""What a rule keeps between steps, by name, so that a checkpoint can hold it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ...errors import ProgramError

Floats = npt.NDArray[np.float32]


class State:
    """Flat float32 arrays by name; an array is zeros where it is first asked for."""

    def __init__(self) -> None:
        self._arrays: dict[str, Floats] = {}

    def array(self, name: str, size: int) -> Floats:
        """The array of that name, to be changed in place.

        Args:
            name: of the array.
            size: its elements, always the same ones.

        Returns:
            (size,) float32, no unit.

        Raises:
            ProgramError: what was restored has another size.
        """
        found = self._arrays.get(name)
        if found is None:
            found = self._arrays[name] = np.zeros(size, np.float32)
        elif found.size != size:
            raise ProgramError(
                f"the checkpoint's {name} has {found.size} values, this worker's has {size}",
                "continue with as many workers as before, or start the trial without --continue",
            )
        return found

    def clear(self, name: str) -> None:
        """Set an array to zeros, where there is one."""
        if name in self._arrays:
            self._arrays[name][:] = 0

    def save(self) -> dict[str, Floats]:
        """Copies of all arrays.

        Returns:
            by name, (size,) float32, no unit.
        """
        return {name: array.copy() for name, array in self._arrays.items()}

    def restore(self, arrays: Mapping[str, Floats]) -> None:
        """Take what `save` gave.

        Args:
            arrays: by name, (size,) float32, no unit.
        """
        self._arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
