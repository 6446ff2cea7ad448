"""What all rules share: the base class, when workers meet, a worker's own step, and what is kept between steps."""

from .base import Rule
from .descent import Descent, Method
from .state import Floats, State

__all__ = ["Descent", "Floats", "Method", "Rule", "State"]
