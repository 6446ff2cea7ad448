"""A step of gradient descent on one flat buffer: plain, with momentum (heavy ball or Nesterov's), weight decay, LARS.
Pure NumPy.

    g = gradient / images + weight_decay * w
    g = lars * |w| / |g| * g                   for every array of the model by itself, where `lars` is set
    v = momentum * v + g
    w = w - rate * v                           or, with Nesterov's, w - rate * (g + momentum * v)

Polyak 1964; Sutskever et al. 2013 ("On the importance of initialization and momentum in deep learning", in the form that
libraries use); LARS: You, Gitman and Ginsburg 2017 ("Large batch training of convolutional networks"), equation 6, with
the rate outside v.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .state import Floats, State

OPTIONS = ("momentum", "nesterov", "momentum_reset", "weight_decay", "lars")
"""The program's parameters that say how."""

_VELOCITY = "velocity"


@dataclass(frozen=True)
class Method:
    """How to step."""

    momentum: float = 0.0
    nesterov: bool = False
    momentum_reset: bool = False
    """Whether the velocity begins at 0 after every meeting."""
    weight_decay: float = 0.0
    lars: float | None = None
    """LARS's trust coefficient; None: no LARS."""

    @classmethod
    def of(cls, own: Mapping[str, Any]) -> Method:
        """From the program's parameters, by name; plain where there are none."""
        return cls(**{name: own[name] for name in OPTIONS if own.get(name) is not None})

    @property
    def plain(self) -> bool:
        """Whether a step is value -= rate * gradient / images and nothing else."""
        return not (self.momentum or self.weight_decay or self.lars)

    @property
    def scratch(self) -> bool:
        """Whether a step needs, for as long as it lasts, as much memory again as the gradients take."""
        return bool(self.weight_decay or (self.momentum and self.nesterov))


class Descent:
    """Steps on one buffer, or on one slice of it, always the same one."""

    def __init__(self, method: Method | None = None, state: State | None = None, places: Sequence[slice] = ()) -> None:
        """`places`: where in the buffer the model's arrays are, for LARS. The velocity is kept in `state`."""
        self.method = method or Method()
        self._state = state or State()
        self._places = places

    def __call__(self, values: Floats, gradients: Floats, rate: float, images: int) -> None:
        """Change the values.

        Args:
            values: (n,) float32, no unit.
            gradients: (n,) float32, no unit: sums over `images`; used as scratch.
            rate: the learning rate.
            images: so many.
        """
        if self.method.plain:
            gradients *= np.float32(rate / images)
            values -= gradients
            return
        gradients *= np.float32(1 / images)
        if self.method.weight_decay:
            gradients += np.float32(self.method.weight_decay) * values
        if self.method.lars:
            self._trust(values, gradients, self.method.lars)
        if self.method.momentum:
            self._accelerate(gradients, np.float32(self.method.momentum))
        gradients *= np.float32(rate)
        values -= gradients

    def met(self) -> None:
        """The workers have met."""
        if self.method.momentum_reset:
            self._state.clear(_VELOCITY)

    def _accelerate(self, gradients: Floats, momentum: np.float32) -> None:
        velocity = self._state.array(_VELOCITY, gradients.size)
        velocity *= momentum
        velocity += gradients
        if self.method.nesterov:
            gradients += momentum * velocity
        else:
            np.copyto(gradients, velocity)

    def _trust(self, values: Floats, gradients: Floats, coefficient: float) -> None:
        """Scale every array's gradient by its values' length; an array of zeros, or without a gradient, keeps its own."""
        for place in self._places:
            lengths = float(np.linalg.norm(values[place])), float(np.linalg.norm(gradients[place]))
            if all(lengths):
                gradients[place] *= np.float32(coefficient * lengths[0] / lengths[1])
