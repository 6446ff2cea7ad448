"""Adagrad on MXNet's servers, which get it as a pickle and find this module where the workers do.

A server serves within `import mxnet`, when that package is not complete yet: hence only arrays' own methods.
"""

from __future__ import annotations

from mxnet.optimizer import Optimizer

from ...engines.base import Array


class Adagrad(Optimizer):  # type: ignore[misc]  # MXNet has no types
    """history += g^2; w -= rate * g / (sqrt(history) + epsilon), element by element (Duchi, Hazan and Singer 2011).

    Keys from `first_sum` on are sums of other things than gradients: there w -= g.
    """

    epsilon = 1e-7

    def __init__(self, learning_rate: float, first_sum: int) -> None:
        super().__init__(learning_rate=learning_rate)
        self.first_sum = first_sum

    def create_state(self, index: int, weight: Array) -> Array:
        """The history of one array.

        Args:
            index: the key.
            weight: of the array, as `Architecture.shapes` gives, float32, no unit.

        Returns:
            zeros, as `Architecture.shapes` gives, float32, no unit.
        """
        return weight.zeros_like()

    def update(self, index: int, weight: Array, grad: Array, state: Array) -> None:
        """One push.

        Args:
            index: the key.
            weight: the servers' values, as `Architecture.shapes` gives, float32, no unit.
            grad: what was pushed, as `Architecture.shapes` gives, float32, no unit.
            state: the history, as `Architecture.shapes` gives, float32, no unit.
        """
        if int(index) >= self.first_sum:
            weight[:] -= grad
            return
        state[:] += grad * grad
        weight[:] -= self.lr * grad / (state.sqrt() + self.epsilon)
