"""A worker's own step on a whole model: the engine's, where it is plain, else `Descent` on each of its buffers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from .rules.common import Descent, Floats, Method, State

if TYPE_CHECKING:
    from .engines.base import Model


class Stepper:
    """Changes a model's values by its gradients; for stores whose workers step by themselves."""

    def __init__(self, model: Model, method: Method) -> None:
        self._model = model
        self._plain = method.plain
        self._states = {each.name: State() for each in model.parameters}
        places = {} if method.plain else places_in(model)
        self._buffers = [
            (
                model.memory(each.value),
                model.memory(each.gradient),
                Descent(method, self._states[each.name], places[each.name]),
            )
            for each in ([] if method.plain else model.parameters)
        ]

    def step(self, rate: float, images: int) -> None:
        """Go against the gradients, which are sums over `images`."""
        if self._plain:
            self._model.descend(rate / images)
        for values, gradients, descent in self._buffers:
            descent(values.settled(), gradients.settled(), rate, images)

    def state(self) -> dict[str, Floats]:
        """What the next step needs.

        Returns:
            copies by name, (size,) float32, no unit.
        """
        return {
            f"{buffer}/{name}": array for buffer, state in self._states.items() for name, array in state.save().items()
        }

    def restore(self, arrays: Mapping[str, Floats]) -> None:
        """Take what `state` gave.

        Args:
            arrays: by name, (size,) float32, no unit.
        """
        for buffer, state in self._states.items():
            first = f"{buffer}/"
            state.restore({name[len(first) :]: array for name, array in arrays.items() if name.startswith(first)})


def places_in(model: Model) -> dict[str, list[slice]]:
    """Where in each of a model's buffers its arrays are, by the buffer's name."""
    sizes = {name: array.size for name, array in model.weights().items()}
    found = {}
    for parameter in model.parameters:
        limits = accumulate((sizes[name] for name in parameter.name.split("+")), initial=0)
        found[parameter.name] = [slice(*pair) for pair in pairwise(limits)]
    return found
